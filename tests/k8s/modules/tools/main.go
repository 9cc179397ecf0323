// The only program in the image of the test pods.
//
//	tools serve tcp:8080 udp:53          answers HTTP and UDP at these ports, until it is killed
//	tools connect tcp:10.42.0.2:8080     prints for each address whether it answers within a second
//	tools cat /proc/1/status             prints a file
//	tools fork 5000                      starts that many processes, and prints how many started and what stopped it
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	patience = time.Second
	forever  = 1000 * time.Hour
)

func main() {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "connect":
		connect(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "serve":
		for _, address := range os.Args[2:] {
			go serve(address)
		}
		time.Sleep(forever)
	case len(os.Args) == 3 && os.Args[1] == "cat":
		content, err := os.ReadFile(os.Args[2])
		fail(err)
		fmt.Print(string(content))
	case len(os.Args) == 3 && os.Args[1] == "fork":
		number, err := strconv.Atoi(os.Args[2])
		fail(err)
		fork(number)
	default:
		// The image is also that of the pods' sandboxes.
		time.Sleep(forever)
	}
}

func serve(address string) {
	protocol, port, _ := strings.Cut(address, ":")
	if protocol == "tcp" {
		answer := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") }
		fail(http.ListenAndServe(":"+port, http.HandlerFunc(answer)))
	}
	connection, err := net.ListenPacket("udp", ":"+port)
	fail(err)
	buffer := make([]byte, 512)
	for {
		size, from, err := connection.ReadFrom(buffer)
		fail(err)
		_, _ = connection.WriteTo(buffer[:size], from)
	}
}

func connect(addresses []string) {
	var wait sync.WaitGroup
	results := make([]string, len(addresses))
	for i, address := range addresses {
		wait.Add(1)
		go func(i int, address string) {
			defer wait.Done()
			results[i] = fmt.Sprintf("%s %t", address, answers(address))
		}(i, address)
	}
	wait.Wait()
	fmt.Println(strings.Join(results, "\n"))
}

func answers(address string) bool {
	protocol, host, _ := strings.Cut(address, ":")
	if protocol == "tcp" {
		client := http.Client{Timeout: patience}
		response, err := client.Get("http://" + host)
		return err == nil && response.StatusCode == http.StatusOK
	}
	connection, err := net.DialTimeout("udp", host, patience)
	if err != nil {
		return false
	}
	_ = connection.SetDeadline(time.Now().Add(patience))
	// A single datagram can be lost while the address of the peer is resolved.
	_, _ = connection.Write([]byte("hello"))
	size, err := connection.Read(make([]byte, 512))
	return err == nil && size > 0
}

// fork starts children that do nothing, counts them, and ends them.
func fork(number int) {
	children := []int{}
	reason := "nothing"
	for len(children) < number {
		child, _, err := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		if err != 0 {
			reason = err.Error()
			break
		}
		if child == 0 {
			for {
				// Only system calls: the runtime of Go does not work in this copy.
				_, _, _ = syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
			}
		}
		children = append(children, int(child))
	}
	fmt.Printf("%d, stopped by %s\n", len(children), reason)
	for _, child := range children {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
