package tlsmat

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mcp-authfetch/mcp-authfetch/keyfile"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// trust is what servers must be. The zero trust is the system's roots.
type trust struct {
	roots  *x509.CertPool // nil: the system's
	caOnly bool
	bundle []*x509.Certificate // the roots that the entry adds
	at     []string            // where each of them was found, fit to print
	caFrom []string            // what they were read from, as the configuration names it, fit to print

	serverName string // "": the URL's host, unless there is a spiffeID
	spiffeID   string
	minVersion uint16
	pins       []string
	lists      map[string][]*revocationList // by the issuer's name in DER

	doubts []finding // what cannot change with time
}

// Bounds of a directory of roots. Those of a public root programme are 300 files of half a MiB,
// in the links of which OpenSSL names each one again.
const (
	maxRootFiles = 2000
	maxRootBytes = 32 << 20
)

// rootFile is a file of roots.
type rootFile struct {
	*keyfile.File
	dir  string // the directory it was found in; "": the configuration names it itself
	skip string // why it is passed over there
}

// readRoots reads files and directories of files.
func readRoots(e Entry) ([]rootFile, error) {
	var all []rootFile
	for _, path := range e.CA {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			inside, err := readDirectory(keyfile.New(e.names(), "ca", path))
			if err != nil {
				return nil, err
			}
			all = append(all, inside...)
			continue
		}
		f, err := keyfile.Read(e.names(), "ca", path)
		if err != nil {
			return nil, err
		}
		all = append(all, rootFile{File: f})
	}
	return all, nil
}

// readDirectory reads the regular files of a directory and what its links lead to: OpenSSL links
// names made of hashes to files beside them, Kubernetes links names into ..data.
func readDirectory(dir *keyfile.File) ([]rootFile, error) {
	entries, err := os.ReadDir(dir.Path)
	if err != nil {
		return nil, dir.Unreadable(err)
	}
	var all []rootFile
	total := 0
	for _, e := range entries {
		path := filepath.Join(dir.Path, e.Name())
		info, err := os.Stat(path)
		if strings.HasPrefix(e.Name(), ".") || err == nil && !info.Mode().IsRegular() {
			continue
		}
		f, err := keyfile.Read(dir.Names, dir.Field, path)
		root := rootFile{File: f, dir: dir.Path}
		if err != nil {
			root.File, root.skip = keyfile.New(dir.Names, dir.Field, path), reason(err)
		}
		all = append(all, root)
		if total += len(root.Bytes()); len(all) > maxRootFiles || total > maxRootBytes {
			return nil, dir.Fault(causeDirectoryTooLarge, nil, "max", fmt.Sprint(maxRootFiles), "size", fmt.Sprintf("%d MiB", maxRootBytes>>20))
		}
	}
	if len(all) == 0 {
		return nil, dir.Fault(causeDirectoryWithoutRoots, nil)
	}
	return all, nil
}

// loadTrust fills in what servers must be.
func (m *Material) loadTrust(e Entry, in *inputs) error {
	m.caOnly, m.minVersion = e.CAOnly, cmp.Or(e.MinVersion, tls.VersionTLS12)
	if m.minVersion != tls.VersionTLS12 && m.minVersion != tls.VersionTLS13 {
		return e.fault(causeMinVersion, "min_version", nil)
	}
	if err := m.loadServerName(e); err != nil {
		return err
	}
	if err := m.loadPins(e); err != nil {
		return err
	}
	if err := m.loadRoots(e, in); err != nil {
		return err
	}
	return m.loadLists(in.crl)
}

// loadRoots makes the pool. Unlike [x509.CertPool.AppendCertsFromPEM] it refuses a bundle of which
// a single certificate is damaged.
func (m *Material) loadRoots(e Entry, in *inputs) error {
	known := map[string]bool{}
	count := map[string]int{} // by directory
	add := func(certs []*x509.Certificate, where string) {
		for _, c := range certs {
			if !known[string(c.Raw)] {
				known[string(c.Raw)] = true
				m.bundle, m.at = append(m.bundle, c), append(m.at, where)
			}
		}
	}
	for i := range in.ca {
		f := &in.ca[i]
		certs, err := f.authorities()
		if err != nil {
			return err
		}
		count[f.dir] += len(certs)
		add(certs, f.Where())
	}
	for _, f := range in.ca {
		if count[f.dir] == 0 {
			return keyfile.New(f.Names, f.Field, f.dir).Fault(causeDirectoryWithoutRoots, nil)
		}
	}
	m.noteSkipped(in.ca)
	for _, path := range e.CA {
		m.caFrom = append(m.caFrom, sanitize.Line(path, 1000))
	}
	if m.vouchesFor(in) {
		from := "the Workload API " + sanitize.Line(e.SPIFFE, 300)
		add(in.roots, from)
		m.caFrom = append(m.caFrom, from)
	}
	return m.pool(e)
}

// pool makes the pool of the bundle. A SPIFFE ID is vouched for by its trust domain alone: the
// system's authorities know nothing of such names (X509-SVID §5).
func (m *Material) pool(e Entry) error {
	switch {
	case m.bundle == nil && m.spiffeID != "":
		return e.fault(causeNoTrustDomain, "server_name", nil, "id", m.spiffeID)
	case m.bundle == nil && !m.caOnly:
		return nil
	case m.spiffeID != "":
		m.caOnly = true
	}
	m.roots = x509.NewCertPool()
	if !m.caOnly {
		var err error
		if m.roots, err = x509.SystemCertPool(); err != nil {
			return e.fault(causeSystemRoots, "ca", err, "detail", sanitize.Line(err.Error(), 300), "ca_mode", e.names().Setting("ca_mode"))
		}
	}
	for _, c := range m.bundle {
		m.roots.AddCert(c)
	}
	return nil
}

// authorities are the certificates of a file of roots. None and no error: it was found in a
// directory and is passed over.
func (f *rootFile) authorities() ([]*x509.Certificate, error) {
	if f.skip != "" {
		return nil, nil
	}
	blocks, err := f.Blocks()
	switch {
	case err == nil && f.dir != "" && !slices.ContainsFunc(blocks, isAnyCertificate):
		f.skip = "holds no certificate"
		return nil, nil
	case err != nil && f.dir != "" && !bytes.Contains(f.Bytes(), []byte("-----BEGIN CERTIFICATE-----")):
		f.skip = reason(err)
		return nil, nil
	case err != nil:
		return nil, err
	}
	return f.Certificates(blocks)
}

// reason is what an error says without the file in front.
func reason(err error) string {
	if fault := (*LoadError)(nil); errors.As(err, &fault) {
		return fault.Cause.Says
	}
	return "cannot be read"
}

func isAnyCertificate(b keyfile.Block) bool {
	return b.IsCertificate() || b.Type == "TRUSTED CERTIFICATE"
}

// noteSkipped warns of files that are no roots.
func (m *Material) noteSkipped(files []rootFile) {
	byDir := map[string][]rootFile{}
	var dirs []string
	for _, f := range files {
		if f.skip == "" {
			continue
		}
		if byDir[f.dir] == nil {
			dirs = append(dirs, f.dir)
		}
		byDir[f.dir] = append(byDir[f.dir], f)
	}
	for _, dir := range dirs {
		const shown = 3
		var names []string
		for _, f := range byDir[dir][:min(shown, len(byDir[dir]))] {
			names = append(names, sanitize.Line(filepath.Base(f.Path), 100)+" ("+f.skip+")")
		}
		if more := len(byDir[dir]) - shown; more > 0 {
			names = append(names, fmt.Sprintf("and %d more", more))
		}
		at := keyfile.New(keyfile.Names{Entry: m.name, Settings: m.settings}, "ca", dir)
		m.doubts = append(m.doubts, told("roots", at.Warning(causeRootsSkipped, "files", strings.Join(names, ", "))))
	}
}
