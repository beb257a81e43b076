package keyfile

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mcp-authfetch/mcp-authfetch/internal/tlstest"
)

func TestLoadUnreadable(t *testing.T) {
	for path, end := range map[string]string{
		"/x/of/which/nothing/is/known": "permission denied",
		write(t, "tls.key"):            fmt.Sprintf("permission denied; it is owned by uid %d, mode 0600", os.Geteuid()),
	} {
		e := New(Names{Entry: "corp"}, "key", path).Unreadable(&fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission})
		if e.Code() != "tls.key_file" || !strings.HasSuffix(e.Error(), end) || !produced(causeDenied, "key", e.Code(), e.Cause.Says, e.Hint()) {
			t.Errorf("%s %v, want …%q", e.Code(), e, end)
		}
	}
	if os.Getuid() == 0 {
		return // root reads everything
	}
	pair := tlstest.NewCA("CA").Issue(tlstest.Leaf{CN: "alice", Client: true})
	cert, key, err := pair.Write(t.TempDir(), "client")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0); err != nil {
		t.Fatal(err)
	}
	if e := loadErr(t, entry{Name: "corp", Cert: cert, Key: key}); e == nil || e.Code() != "tls.key_file" || !strings.HasSuffix(e.Error(), fmt.Sprintf("owned by uid %d, mode 0000", os.Geteuid())) {
		t.Errorf("%v", e)
	}
}

// A file system that does not answer holds nobody up for long.
func TestSlowFile(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	_, err := within(10*time.Millisecond, func() (content, error) {
		<-end
		return content{}, nil
	})
	fail, ok := New(Names{Entry: "corp"}, "key", "/mnt/key").take(content{}, err).(*Error)
	if !ok || !produced(causeSlow, "key", fail.Code(), fail.Cause.Says, fail.Hint()) {
		t.Errorf("%v", fail)
	}
}

// What is too large is not read to find that out.
func TestLargeFileIsNotRead(t *testing.T) {
	path := write(t, "big")
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Skip("a sparse file of 1 TiB cannot be made here: ", err)
	}
	c, err := readContent(path)
	if err != nil || c.data != nil || New(Names{}, "ca", path).take(c, err).(*Error).Code() != "tls.ca_file" {
		t.Errorf("%d bytes, %v", len(c.data), err)
	}
}
