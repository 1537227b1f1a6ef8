package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// serve runs one server until it is told to stop.
func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	dataDir := flags.String("data-dir", "", "where streams are stored")
	port := flags.Int("port", server.RANDOM_PORT, "the port on 127.0.0.1")
	unflushed := flags.Bool("unflushed", false, "acknowledge from the page cache, synced every two minutes, as NATS does out of the box")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *dataDir == "" {
		return fmt.Errorf("serve needs --data-dir")
	}
	options := &server.Options{
		Host:              "127.0.0.1",
		Port:              *port,
		JetStream:         true,
		JetStreamMaxStore: 1 << 40,
		StoreDir:          *dataDir,
		SyncAlways:        !*unflushed,
		NoSigs:            true,
		NoLog:             true,
		MaxPayload:        8 << 20,
	}
	instance, err := server.NewServer(options)
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 2)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go instance.Start()
	if !instance.ReadyForConnections(30 * time.Second) {
		return fmt.Errorf("the server was not ready within 30 s")
	}
	fmt.Printf("ready %s\n", instance.Addr())
	<-stop
	instance.Shutdown()
	instance.WaitForShutdown()
	return nil
}
