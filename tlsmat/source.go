package tlsmat

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/mcp-authfetch/mcp-authfetch/sanitize"
)

// SourceOptions configures a [Source].
type SourceOptions struct {
	// Interval is how often files are looked at, give or take a tenth. 0: 10 s.
	Interval time.Duration
	// Logger gets changes, failed reloads and coming expiry. Nil: none.
	Logger *slog.Logger
}

const (
	defaultInterval = 10 * time.Second
	// A renewal that writes two files needs this long between them, as a rule.
	tries, pause = 4, 200 * time.Millisecond
)

// Source keeps the material of an entry current. Create it with [Open].
type Source struct {
	entry    Entry
	interval time.Duration
	pause    time.Duration
	log      *slog.Logger
	keeper   *keeper       // nil: everything is in files
	wake     chan struct{} // capacity 1: a reason to look before the interval is over
	notifier func() (*fsnotify.Watcher, error)
	between  func() // called between two readings of the same files; nil: not

	life  context.Context // until Close
	close func() error
	turn  chan struct{} // capacity 1: holds a value while somebody reads files or asks the keeper

	current atomic.Pointer[Material]
	mu      sync.Mutex // guards status; a new current is stored under it too
	status  Status

	last attempt // guarded by turn
}

// Status tells how the last reloads went.
type Status struct {
	Generation int       // of [Source.Current], from 1
	Loaded     time.Time // when it was loaded
	Failure    error     // why the latest change could not be loaded; nil: there is none
	Failed     time.Time // since when
	// Withdrawn is why the identity of the material must not be used any more, since its issuer has
	// taken it back; nil: it may be.
	Withdrawn error
}

// Open loads the material for the first time. Its error is a [*LoadError].
func Open(ctx context.Context, e Entry, o SourceOptions) (*Source, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	s := newSource(e, o)
	if e.keepsKey() {
		s.keeper = newKeeper(e, s.interval, s.look)
	}
	if err := s.open(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func newSource(e Entry, o SourceOptions) *Source {
	s := &Source{
		entry:    e,
		interval: cmp.Or(o.Interval, defaultInterval),
		pause:    pause,
		log:      o.Logger,
		wake:     make(chan struct{}, 1),
		notifier: fsnotify.NewWatcher,
		turn:     make(chan struct{}, 1),
	}
	var end context.CancelFunc
	s.life, end = context.WithCancel(context.Background())
	s.close = sync.OnceValue(func() error {
		end()
		s.turn <- struct{}{} // for good: nothing is opened again
		if s.keeper == nil {
			return nil
		}
		return s.keeper.close()
	})
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.log = s.log.With("mtls", sanitize.Line(e.Name, 100))
	return s
}

// Current is the material as of now, nil for a nil Source. Each change gives a new pointer.
func (s *Source) Current() *Material {
	if s == nil {
		return nil
	}
	return s.current.Load()
}

// Status tells how the last reloads went.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status
	if m := s.current.Load(); m != nil && m.withdrawn != nil {
		status.Withdrawn = m.withdrawn
	}
	return status
}

// Close ends [Source.Watch] and what the key lives in. Where that is not a file, the material of
// the source cannot be used afterwards.
func (s *Source) Close() error { return s.close() }

// look has Watch look at once.
func (s *Source) look() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
