// A program in the place of K3s. K3s is a program too: k3s-harden remembers the version of a program, and not of a script.
//
// It runs a script with its own arguments.
package main

import (
	"fmt"
	"os"
	"syscall"
)

const script = "/usr/local/libexec/k3s"

func main() {
	err := syscall.Exec(script, append([]string{script}, os.Args[1:]...), os.Environ())
	fmt.Fprintln(os.Stderr, script+":", err)
	os.Exit(1)
}
