// Package pkcs11key uses a private key inside a PKCS #11 token, in builds with the tag pkcs11.
package pkcs11key
