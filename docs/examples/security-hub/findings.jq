# Make findings of AWS Security Hub of a JSON report of `k3s-harden assess`.
. as $report | [.verdicts[] | {
    SchemaVersion: "2018-10-08", AwsAccountId: $account, ProductArn: "arn:aws:securityhub:\($region):\($account):product/\($account)/default",
    Id: "k3s-harden/\($report.node)/\(.id)", GeneratorId: "k3s-harden/\(.id)", CreatedAt: $report.time, UpdatedAt: $report.time,
    Types: ["Software and Configuration Checks/Industry and Regulatory Standards/CIS Kubernetes Benchmark"],
    Severity: {Label: (if .is_open then .severity | ascii_upcase else "INFORMATIONAL" end)},
    Title: ("\(.number) \(.title)" | ltrimstr(" "))[:256], Description: "\(.status). Expected: \(.expected). Found: \(.found). \(.reason)"[:1024],
    Compliance: {Status: ({PASS: "PASSED", FAIL: "FAILED", NOT_APPLICABLE: "NOT_AVAILABLE"}[.status] // "WARNING")},
    Resources: [{Type: "Other", Id: "node/\($report.node)"}]}]
