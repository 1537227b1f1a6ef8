// Franz-go or kafka-go, Go clients with wire protocols of their own, against a broker.
//
// Usage: checks plain|groups BOOTSTRAP [CHECK]...
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) == 5 && os.Args[1] == "member" {
		beAMember(os.Args[2], os.Args[3], os.Args[4])
	}
	suites := map[string][]check{"plain": plainChecks, "groups": groupChecks}
	suffixes := map[string]string{"plain": "", "groups": ", groups"}
	if len(os.Args) < 3 || suites[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: checks plain|groups BOOTSTRAP [CHECK]...")
		os.Exit(2)
	}
	fmt.Println("client " + client() + suffixes[os.Args[1]])
	if !runAll(os.Args[2], os.Args[3:], suites[os.Args[1]]) {
		os.Exit(1)
	}
}
