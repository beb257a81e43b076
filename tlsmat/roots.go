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
	"strings"

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

// readFiles reads files and, for roots, directories of files.
func readFiles(e Entry, field string, paths []string) ([]*file, error) {
	var all []*file
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.IsDir() && field == "ca" {
			inside, err := readDirectory(&file{entry: e.Name, field: field, path: path, settings: e.Settings})
			if err != nil {
				return nil, err
			}
			all = append(all, inside...)
			continue
		}
		f, err := e.readFile(field, path)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// readDirectory reads the regular files of a directory and what its links lead to: OpenSSL links
// names made of hashes to files beside them, Kubernetes links names into ..data.
func readDirectory(dir *file) ([]*file, error) {
	entries, err := os.ReadDir(dir.path)
	if err != nil {
		return nil, dir.unreadable(err)
	}
	var all []*file
	total := 0
	for _, e := range entries {
		path := filepath.Join(dir.path, e.Name())
		info, err := os.Stat(path)
		if strings.HasPrefix(e.Name(), ".") || err == nil && !info.Mode().IsRegular() {
			continue
		}
		f, err := (&file{entry: dir.entry, field: dir.field, path: path, settings: dir.settings}).read()
		if err != nil {
			f = &file{entry: dir.entry, field: dir.field, path: path, settings: dir.settings, skip: reason(err)}
		}
		f.dir = dir.path
		all = append(all, f)
		if total += len(f.data); len(all) > maxRootFiles || total > maxRootBytes {
			return nil, dir.fault(causeDirectoryTooLarge, nil, "max", fmt.Sprint(maxRootFiles), "size", fmt.Sprintf("%d MiB", maxRootBytes>>20))
		}
	}
	if len(all) == 0 {
		return nil, dir.fault(causeDirectoryWithoutRoots, nil)
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
	for _, f := range in.ca {
		certs, err := f.authorities()
		if err != nil {
			return err
		}
		count[f.dir] += len(certs)
		add(certs, f.where())
	}
	for _, f := range in.ca {
		if count[f.dir] == 0 {
			return (&file{entry: f.entry, field: f.field, path: f.dir, settings: f.settings}).fault(causeDirectoryWithoutRoots, nil)
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
			return e.fault(causeSystemRoots, "ca", err, "detail", sanitize.Line(err.Error(), 300), "ca_mode", e.setting("ca_mode"))
		}
	}
	for _, c := range m.bundle {
		m.roots.AddCert(c)
	}
	return nil
}

// authorities are the certificates of a file of roots. None and no error: it was found in a
// directory and is passed over.
func (f *file) authorities() ([]*x509.Certificate, error) {
	if f.skip != "" {
		return nil, nil
	}
	blocks, err := f.blocks()
	switch {
	case err == nil && f.dir != "" && !has(blocks, isAnyCertificate):
		f.skip = "holds no certificate"
		return nil, nil
	case err != nil && f.dir != "" && !bytes.Contains(f.data, []byte("-----BEGIN CERTIFICATE-----")):
		f.skip = reason(err)
		return nil, nil
	case err != nil:
		return nil, err
	}
	return f.certificates(blocks)
}

// reason is what an error says without the file in front.
func reason(err error) string {
	if fault := (*LoadError)(nil); errors.As(err, &fault) {
		return fault.Reason
	}
	return "cannot be read"
}

func isAnyCertificate(b block) bool { return isCertificate(b) || b.Type == "TRUSTED CERTIFICATE" }

// noteSkipped warns of files that are no roots.
func (m *Material) noteSkipped(files []*file) {
	byDir := map[string][]*file{}
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
			names = append(names, sanitize.Line(filepath.Base(f.path), 100)+" ("+f.skip+")")
		}
		if more := len(byDir[dir]) - shown; more > 0 {
			names = append(names, fmt.Sprintf("and %d more", more))
		}
		at := &file{entry: m.name, field: "ca", path: dir, settings: m.settings}
		m.doubts = append(m.doubts, at.finding("roots", causeRootsSkipped, "files", strings.Join(names, ", ")))
	}
}

// setting is how the configuration calls a field.
func (e Entry) setting(field string) string {
	return cmp.Or(e.Settings[field], configKey(e.Name, field))
}
