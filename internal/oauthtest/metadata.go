package oauthtest

import (
	"net/http"
	"slices"
)

// metadata is RFC 8414 §2.
func (i *Issuer) metadata(w http.ResponseWriter, r *http.Request) {
	o := i.options
	methods := i.authMethods()
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
	i.announce(m)
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

// announce adds what is off unless an option asks for it.
func (i *Issuer) announce(m map[string]any) {
	o := i.options
	if o.PAR != "" && !o.NoCode {
		m["pushed_authorization_request_endpoint"] = i.URL + "/par"
		m["require_pushed_authorization_requests"] = o.PAR == "required"
	}
	if o.DPoP {
		m["dpop_signing_alg_values_supported"] = []string{"ES256"}
	}
	if len(o.ClientKeys) > 0 {
		m["token_endpoint_auth_signing_alg_values_supported"] = assertionAlgorithms
		m["revocation_endpoint_auth_signing_alg_values_supported"] = assertionAlgorithms
	}
	if o.CertificateBound {
		m["tls_client_certificate_bound_access_tokens"] = true
	}
	if o.Aliases {
		m["mtls_endpoint_aliases"] = i.aliases()
	}
	if o.MetadataClients != nil {
		m["client_id_metadata_document_supported"] = true
	}
	if o.IDToken {
		m["jwks_uri"] = i.URL + "/jwks"
		m["subject_types_supported"] = []string{"public"}
		m["id_token_signing_alg_values_supported"] = []string{"ES256"}
	}
}

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

func (i *Issuer) grantTypes() []string {
	all := []string{"authorization_code", "refresh_token", deviceGrant, "client_credentials"}
	if i.options.Assertions != nil {
		all = append(all, jwtBearerGrant)
	}
	if i.options.Exchange != nil {
		all = append(all, exchangeGrant)
	}
	return slices.DeleteFunc(all, func(g string) bool {
		return g == "authorization_code" && i.options.NoCode || g == "refresh_token" && i.options.NoRefresh || g == deviceGrant && i.options.NoDevice
	})
}
