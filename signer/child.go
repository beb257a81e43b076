package signer

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// child is one run of the program.
type child struct {
	*conn
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	began  time.Time
	grace  time.Duration

	gone chan struct{} // closed when the process is no more
	read chan struct{} // closed when all of its output was read
}

const (
	drain  = 200 * time.Millisecond // for what stands in the pipe when the process has gone
	settle = 500 * time.Millisecond // for the process to go when its output has ended
)

// launch starts the program in a process group of its own: a shell script's children end with it,
// and the terminal's Ctrl-C is for us to pass on. What it does runs in work.
func launch(name command, argv []string, grace time.Duration, work *sync.WaitGroup) (*child, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	ownGroup(cmd)
	theirIn, stdin, err := os.Pipe()
	if err != nil {
		return nil, cannotStart(name, err)
	}
	stdout, theirOut, err := os.Pipe()
	if err != nil {
		_, _ = theirIn.Close(), stdin.Close()
		return nil, cannotStart(name, err)
	}
	// Stderr stays nil, which is the null device: what it says may be secret.
	cmd.Stdin, cmd.Stdout = theirIn, theirOut
	err = cmd.Start()
	_, _ = theirIn.Close(), theirOut.Close()
	if err != nil {
		_, _ = stdin.Close(), stdout.Close()
		return nil, cannotStart(name, err)
	}
	c := &child{conn: newConn(name), cmd: cmd, stdin: stdin, stdout: stdout, began: time.Now(), grace: grace,
		gone: make(chan struct{}), read: make(chan struct{})}
	work.Go(c.reap)
	work.Go(c.ask)
	work.Go(c.listen)
	work.Go(c.end)
	return c, nil
}

// cannotStart leaves out the path and the arguments that the errors of exec may have.
func cannotStart(name command, err error) *Error {
	reason := err
	if e, ok := errors.AsType[*exec.Error](err); ok {
		reason = e.Err
	} else if e, ok := errors.AsType[*fs.PathError](err); ok {
		reason = e.Err
	}
	fault := name.fault("signer.start", "reason", sanitize.Line(reason.Error(), 200))
	fault.Err = reason
	return fault
}

// ask writes requests. A program that has closed its standard input is asked to go.
func (c *child) ask() {
	if c.write(c.stdin) != nil {
		c.leave()
	}
}

// listen reads answers, and knows why there are no more.
func (c *child) listen() {
	err := c.conn.read(c.stdout)
	close(c.read)
	if err == nil {
		ended := "its output closed"
		select {
		case <-c.gone:
			ended = c.cmd.ProcessState.String()
		case <-c.done:
		case <-time.After(settle):
		}
		fault := c.name.fault("signer.ended", "status", ended)
		fault.Status = ended
		err = fault
	}
	c.fail(err)
}

// reap waits for the process.
func (c *child) reap() {
	_ = c.cmd.Wait() // the status is in ProcessState
	killGroup(c.cmd) // what it has left behind
	close(c.gone)
	select { // somebody who left the group may hold the other end of the pipe
	case <-c.read:
	case <-time.After(drain):
	}
	_ = c.stdout.Close()
}

// end ends the process when the connection has ended.
func (c *child) end() {
	<-c.done
	c.leave()
}

// leave closes the standard input, at which a signer goes, and kills one that does not.
func (c *child) leave() {
	_ = c.stdin.Close()
	select {
	case <-c.gone:
		return
	case <-time.After(c.grace):
	}
	select {
	case <-c.gone:
	default:
		killGroup(c.cmd)
		<-c.gone
	}
}
