package oauthtest

import (
	"net/http"
	"slices"
)

// metadata is RFC 8414 §2.
func (i *Issuer) metadata(w http.ResponseWriter, r *http.Request) {
	o := i.options
	methods := []string{"none", "client_secret_basic", "client_secret_post"}
	m := map[string]any{
		"issuer":                                     i.URL,
		"token_endpoint":                             i.URL + "/token",
		"token_endpoint_auth_methods_supported":      methods,
		"revocation_endpoint":                        i.URL + "/revoke",
		"revocation_endpoint_auth_methods_supported": methods,
		"grant_types_supported":                      i.grantTypes(),
		"response_types_supported":                   []string{},
	}
	if !o.NoCode {
		m["authorization_endpoint"] = i.URL + "/authorize"
		m["response_types_supported"] = []string{"code"}
		m["response_modes_supported"] = []string{"query"}
		if !o.NoPKCEMetadata {
			m["code_challenge_methods_supported"] = []string{"S256"}
		}
		if !o.NoISS {
			m["authorization_response_iss_parameter_supported"] = true
		}
	}
	if !o.NoRegistration {
		m["registration_endpoint"] = i.URL + "/register"
	}
	if !o.NoDevice {
		m["device_authorization_endpoint"] = i.URL + "/device_authorization"
	}
	if o.Edit != nil {
		o.Edit(r.URL.Path, m)
	}
	note(w, "authorization server metadata")
	writeJSON(w, http.StatusOK, m)
}

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

func (i *Issuer) grantTypes() []string {
	all := []string{"authorization_code", "refresh_token", deviceGrant, "client_credentials"}
	return slices.DeleteFunc(all, func(g string) bool {
		return g == "authorization_code" && i.options.NoCode || g == "refresh_token" && i.options.NoRefresh || g == deviceGrant && i.options.NoDevice
	})
}
