// Print what STIG Manager reads from a .cklb file: node read.mjs PACKAGE FILE
import { readFileSync } from "node:fs";

const [, , reader, file] = process.argv;
const { reviewsFromCklb } = await import(reader);
const always = { enabled: "always", required: "always" };
const result = reviewsFromCklb({
  data: readFileSync(file, "utf8"),
  fieldSettings: { detail: always, comment: always },
  allowAccept: true,
  importOptions: {
    autoStatus: { fail: "saved", pass: "saved", notapplicable: "saved" },
    unreviewed: "always",
    unreviewedCommented: "notchecked",
    emptyDetail: "import",
    emptyComment: "import",
    allowCustom: true,
  },
  sourceRef: file,
});
console.log(JSON.stringify(result));
