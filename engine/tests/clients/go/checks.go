package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"time"
)

// Only ends a check that would hang.
const deadline = 30 * time.Second

// broker is what a check is given: where the broker is, and names that nothing else uses.
type broker struct {
	seeds []string
	ctx   context.Context
}

func (b broker) fresh(purpose string) string {
	var some [6]byte
	must(rand.Read(some[:]))
	return fmt.Sprintf("%s-%x", purpose, some)
}

type check struct {
	name string
	run  func(broker)
}

// must gives a value that comes without an error; a check fails by panicking.
func must[T any](value T, err error) T {
	ensure(err)
	return value
}

func ensure(err error) {
	if err != nil {
		panic(err)
	}
}

func same(got, expected any, what string) {
	if !reflect.DeepEqual(got, expected) {
		panic(fmt.Sprintf("%s: got %v, expected %v", what, got, expected))
	}
}

func truth(holds bool, otherwise string, arguments ...any) {
	if !holds {
		panic(fmt.Sprintf(otherwise, arguments...))
	}
}

// eventually asks until it is so. For what a broker may finish after answering.
func eventually(what string, probe func() bool) {
	end := time.Now().Add(deadline)
	for !probe() {
		truth(time.Now().Before(end), "not within %v: %s", deadline, what)
		time.Sleep(20 * time.Millisecond)
	}
}

// client names the client that is linked, franz-go or kafka-go.
func client() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		for _, name := range []string{"franz-go", "kafka-go"} {
			if strings.HasSuffix(module.Path, "/"+name) {
				return name + " (Go) " + strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	panic("no client is linked")
}

// runAll runs the wanted checks, or all, and says whether all passed.
func runAll(bootstrap string, wanted []string, checks []check) bool {
	var failed []string
	for _, each := range checks {
		if len(wanted) > 0 && !contains(wanted, each.name) {
			continue
		}
		start := time.Now()
		verdict := "ok      "
		if problem := attempt(bootstrap, each); problem != nil {
			verdict = "FAILED  "
			failed = append(failed, each.name)
			fmt.Println(problem)
		}
		fmt.Printf("%s%s (%.2f s)\n", verdict, each.name, time.Since(start).Seconds())
	}
	if len(failed) > 0 {
		fmt.Printf("%d failed: %s\n", len(failed), strings.Join(failed, ", "))
	}
	return len(failed) == 0
}

func attempt(bootstrap string, each check) (problem any) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*deadline)
	defer cancel()
	defer func() {
		if problem = recover(); problem != nil {
			os.Stdout.Write(debug.Stack())
		}
	}()
	each.run(broker{strings.Split(bootstrap, ","), ctx})
	return nil
}

func contains(all []string, one string) bool {
	for _, each := range all {
		if each == one {
			return true
		}
	}
	return false
}
