package keyfile

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

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
