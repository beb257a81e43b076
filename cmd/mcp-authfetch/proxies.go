package main

import (
	"github.com/mcp-authfetch/mcp-authfetch/config"
	"github.com/mcp-authfetch/mcp-authfetch/origin"
	"github.com/mcp-authfetch/mcp-authfetch/outbound"
	"github.com/mcp-authfetch/mcp-authfetch/tlsmat"
)

// proxies are the proxies of the config and of the environment, each made once.
type proxies struct {
	network     *config.Network
	environment bool
	made        map[*config.Proxy]*outbound.Proxy // complete from the start
}

// newProxies checks the variables of the environment where they count.
func newProxies(cfg *config.Config, files files, environment bool) (*proxies, error) {
	if environment {
		if err := cfg.Network.CheckEnvironment(); err != nil {
			return nil, err
		}
	}
	p := &proxies{network: &cfg.Network, environment: environment, made: map[*config.Proxy]*outbound.Proxy{}}
	for _, c := range cfg.Network.Proxies() {
		made := &outbound.Proxy{At: c.At, Username: c.Username, Password: c.Password, Setting: c.Setting}
		if c.MTLS != "" {
			made.Material = func() *tlsmat.Material { return files.sources[c.MTLS].Current() }
		}
		p.made[c] = made
	}
	return p, nil
}

// on is the proxy on the way to an origin, nil where there is none.
func (p *proxies) on(to origin.Origin) *outbound.Proxy {
	return p.made[p.network.ProxyFor(to, p.environment)]
}
