package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

const maxFile = 1 << 20

// Env looks up an environment variable.
type Env func(name string) (value string, ok bool)

// Load reads the file at path and the AUTHFETCH_* variables. Where optional is true a missing file
// is an empty one. Paths in the file may begin with ~, which is home, and are otherwise relative
// to the file's folder; paths in variables are relative to the working directory. Every error it
// returns is an [Errors].
func Load(path string, optional bool, env Env, home string) (*Config, error) {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	file, err := read(path, optional)
	if err != nil {
		return nil, Errors{{Path: path, Reason: err.Error()}}
	}
	return load(file, env, home)
}

// file is what was read, and how safely it lay there.
type file struct {
	path     string // "" when there is no file
	data     []byte
	readable bool // by others
}

// noSuchFile is a reason that has a hint of its own.
const noSuchFile = "there is no such file"

func read(path string, optional bool) (file, error) {
	if path == "" {
		if optional {
			return file{}, nil
		}
		return file{}, errors.New("no configuration file is named")
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if optional {
			return file{}, nil
		}
		return file{}, errors.New(noSuchFile)
	}
	if err != nil {
		return file{}, cause(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return file{}, cause(err)
	}
	if info.IsDir() {
		return file{}, errors.New("this is a folder, not a file")
	}
	if exposed(info, 0o022) {
		return file{}, fmt.Errorf("others can change this file (mode %04o) and so send your credentials elsewhere; remove that with chmod go-w", info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return file{}, cause(err)
	}
	if len(data) > maxFile {
		return file{}, errors.New("the file is larger than 1 MiB")
	}
	return file{path: path, data: data, readable: exposed(info, 0o044)}, nil
}

// exposed reports whether a regular file grants others one of the permissions in mask. Windows
// keeps permissions elsewhere and reports the same bits for all.
func exposed(info fs.FileInfo, mask fs.FileMode) bool {
	return runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&mask != 0
}

// cause drops the path from an error that will be shown next to it.
func cause(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

// load checks and builds; the file is in memory already.
func load(f file, env Env, home string) (*Config, error) {
	doc := newDocument(f.path, f.data)
	b := &builder{doc: doc, root: &node{shape: settings()}, env: env, home: home, cfg: &Config{Path: f.path}}
	if f.path != "" {
		abs, err := filepath.Abs(f.path)
		if err != nil {
			return nil, Errors{{Path: f.path, Reason: err.Error()}}
		}
		b.dir = filepath.Dir(abs)
		value, ok := doc.parse()
		if !ok {
			return nil, doc.errors(nil)
		}
		if root := doc.decode(value, b.root.shape, ""); root != nil {
			b.root = root
		}
	}
	b.build()
	if errs := doc.errors(b.variables); len(errs) > 0 {
		return nil, errs
	}
	b.cfg.Warnings = doc.warningLines()
	if f.readable && b.literal {
		b.cfg.Warnings = append(b.cfg.Warnings, f.path+": others can read this file, and it holds passphrases, client secrets or header values; chmod go-r closes it")
	}
	return b.cfg, nil
}
