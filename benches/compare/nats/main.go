// The NATS JetStream side of a race: an embedded nats-server with file storage, and a load of one message a publish.
//
//	peer serve --data-dir DIR [--port P] [--unflushed]
//	peer load --url HOST:PORT --json FILE [--record-size N] [--producers N] [--in-flight N] [--partitions N] [--duration D] [--warmup D]
//
// `serve` behaves as `corelane serve` does: one line `ready HOST:PORT` on standard output, SIGTERM and SIGINT stop it.
// `load` writes what it measured in the shape of the load generator's JSON, as far as it has it.
package main

import (
	"fmt"
	"os"
)

func main() {
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == "serve":
		err = serve(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "load":
		err = load(os.Args[2:])
	default:
		err = fmt.Errorf("the subcommands are serve and load")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare/nats:", err)
		os.Exit(1)
	}
}
