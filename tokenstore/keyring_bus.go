//go:build (dragonfly && cgo) || (freebsd && cgo) || linux || netbsd || openbsd

package tokenstore

import "github.com/godbus/dbus/v5"

// reachable fails where there is no session bus. The keyring's client would start one of its own,
// with a keyring that nobody has unlocked, and leave it running.
func reachable() error {
	conn, err := dbus.SessionBusPrivateNoAutoStartup()
	if err != nil {
		return err
	}
	return conn.Close()
}
