// An authorization server (the npm package oidc-provider) and a site that takes its tokens. Standard
// input is one JSON object, what the test wants; standard output is one JSON object per line: first
// where both are, then every request they received. It ends with its input.
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const modules = join(process.env.AUTHFETCH_E2E_NPM, 'node_modules');
const load = (file) => import(pathToFileURL(join(modules, file)));
const { Provider } = await load('oidc-provider/lib/index.js');
const jose = await load('jose/dist/webapi/index.js');

console.info = console.error; // standard output is ours
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const options = JSON.parse(await firstLine());
const tls = { key: options.key, cert: options.cert, ca: options.ca };
const asking = { ...tls, requestCert: true, rejectUnauthorized: false };
const scope = 'docs.read';

// The servers listen before there is anything to serve, because the issuer has its port in its name.
const issuer = await listen(options.certificates === 'issuer' ? asking : tls);
const alias = await listen(asking);
const site = await listen(options.binding === 'certificate' ? asking : tls);
const issuerURL = issuer.url + options.path;

const provider = new Provider(issuerURL, {
  clients: [{ client_id: 'site', client_secret: 'site-secret', redirect_uris: [], response_types: [], grant_types: [] }, ...options.clients],
  clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth']
    .filter((method) => options.features.mTLS || !method.includes('tls')),
  cookies: { keys: [randomBytes(16).toString('hex')] },
  discovery: options.certificates === 'alias' ? {
    mtls_endpoint_aliases: {
      token_endpoint: `${alias.url}${options.path}/token`,
      revocation_endpoint: `${alias.url}${options.path}/token/revocation`,
    },
  } : {},
  features: {
    // What a test does not speak of is off.
    dPoP: { enabled: false },
    pushedAuthorizationRequests: { enabled: false },
    introspection: { enabled: true },
    ...options.features,
    ...(options.features.mTLS && {
      mTLS: {
        ...options.features.mTLS,
        getCertificate: (ctx) => ctx.socket.getPeerX509Certificate(),
        certificateAuthorized: (ctx) => ctx.socket.authorized,
        certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_subject_dn'
          && ctx.socket.getPeerX509Certificate().subject === expected,
      },
    }),
    ...(options.features.dPoP && {
      dPoP: { ...options.features.dPoP, nonceSecret: randomBytes(32), requireNonce: () => options.nonce },
    }),
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => ({
        scope, audience: resource, accessTokenFormat: options.format, accessTokenTTL: options.lifetime,
      }),
    },
  },
  // Its own refuses every address that is not public.
  fetch: (url, { dispatcher, ...init }) => fetch(url, init),
  ttl: { ClientCredentials: options.lifetime, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600, DeviceCode: 600 },
});

provider.use(async (ctx, next) => {
  await next();
  record('issuer', ctx.req, ctx.status, {
    path: ctx.path,
    form: ctx.oidc?.body,
    error: ctx.body?.error,
    description: ctx.oidc?.error_detail,
    at_alias: ctx.socket.localPort === alias.port,
  });
});
for (const name of ['grant.error', 'grant.revoked', 'refresh_token.consumed', 'registration_delete.success', 'server_error']) {
  provider.on(name, (...of) => {
    const error = of.find((v) => v instanceof Error);
    print({ kind: 'event', name, error: error && (error.error_detail ?? error.stack) });
  });
}

const callback = provider.callback();
for (const server of [issuer, alias]) {
  server.on('request', (req, res) => {
    if (!req.url.startsWith(`${options.path}/`)) {
      record('issuer', req, 404, { path: req.url });
      res.writeHead(404).end();
      return;
    }
    req.originalUrl = req.url;
    req.url = req.url.slice(options.path.length);
    callback(req, res);
  });
}

const metadata = '/.well-known/oauth-protected-resource';
site.on('request', async (req, res) => {
  const url = new URL(req.url, site.url);
  const answer = async () => {
    if (url.pathname === metadata) {
      return [200, { 'content-type': 'application/json' }, JSON.stringify({
        resource: site.url,
        authorization_servers: [issuerURL],
        scopes_supported: [scope],
        ...(options.binding === 'dpop' && { dpop_bound_access_tokens_required: true, dpop_signing_alg_values_supported: ['ES256'] }),
        ...(options.binding === 'certificate' && { tls_client_certificate_bound_access_tokens: true }),
      })];
    }
    if (!url.pathname.startsWith('/docs/')) {
      return [404, {}, 'no such page'];
    }
    const error = await refuse(req, url);
    if (error === undefined) {
      return [200, { 'content-type': 'text/html' }, '<title>Handbook</title><h1>Harbour handbook</h1><p>Moor at the north quay.'];
    }
    const challenge = `${options.binding === 'dpop' ? 'DPoP algs="ES256", ' : 'Bearer '}${error && `error="${error}", `}resource_metadata="${site.url}${metadata}"`;
    return [401, { 'www-authenticate': challenge, ...(error === 'use_dpop_nonce' && { 'dpop-nonce': siteNonce }) }, 'sign in'];
  };
  const [status, headers, body] = await answer().catch((err) => [500, {}, err.stack]);
  record('site', req, status, { path: url.pathname, error: status === 401 ? headers['www-authenticate'] : status === 500 ? body : undefined });
  res.writeHead(status, headers).end(body);
});

const siteNonce = randomBytes(8).toString('hex');
const proofs = new Set();
const keys = jose.createRemoteJWKSet(new URL(`${issuerURL}/jwks`));

// refuse returns the error code of a token that is not good for this request, '' where there is none,
// and undefined where it is good.
async function refuse(req, url) {
  const [scheme, token] = (req.headers.authorization ?? '').split(' ');
  if (!token) {
    return '';
  }
  const claims = await (options.format === 'jwt' ? verified(token) : introspected(token));
  const wanted = { dpop: 'jkt', certificate: 'x5t#S256' }[options.binding];
  if (claims?.aud !== site.url || !claims.scope?.split(' ').includes(scope) || (wanted && !claims.cnf?.[wanted])) {
    return 'invalid_token';
  }
  if (scheme !== (claims.cnf?.jkt ? 'DPoP' : 'Bearer')) {
    return 'invalid_token';
  }
  if (claims.cnf?.['x5t#S256'] && claims.cnf['x5t#S256'] !== thumbprint(req.socket.getPeerX509Certificate())) {
    return 'invalid_token';
  }
  return claims.cnf?.jkt ? unproven(req, url, token, claims.cnf.jkt) : undefined;
}

const verified = (token) => jose.jwtVerify(token, keys, { issuer: issuerURL, typ: 'at+jwt' }).then((jwt) => jwt.payload, () => undefined);

async function introspected(token) {
  const response = await fetch(`${issuerURL}/token/introspection`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa('site:site-secret')}` },
    body: new URLSearchParams({ token }),
  });
  const answer = await response.json();
  return answer.active ? answer : undefined;
}

// unproven checks the proof that comes with a token (RFC 9449 §4.3), and says what is wrong.
async function unproven(req, url, token, jkt) {
  let jwt;
  try {
    jwt = await jose.jwtVerify(req.headers.dpop, jose.EmbeddedJWK, { typ: 'dpop+jwt', maxTokenAge: 60, clockTolerance: 5 });
  } catch {
    return 'invalid_dpop_proof';
  }
  const { payload, protectedHeader } = jwt;
  const good = await jose.calculateJwkThumbprint(protectedHeader.jwk) === jkt && payload.htm === req.method
    && payload.htu === site.url + url.pathname && payload.ath === createHash('sha256').update(token).digest('base64url')
    && !proofs.has(payload.jti);
  proofs.add(payload.jti);
  if (good && options.nonce && payload.nonce !== siteNonce) {
    return 'use_dpop_nonce';
  }
  return good ? undefined : 'invalid_dpop_proof';
}

const thumbprint = (certificate) => certificate && createHash('sha256').update(certificate.raw).digest('base64url');

function record(server, req, status, more) {
  const proof = req.headers.dpop && jose.decodeJwt(req.headers.dpop);
  print({
    kind: 'request',
    server,
    method: req.method,
    status,
    query: Object.fromEntries(new URL(req.url, 'https://any').searchParams),
    authorization: req.headers.authorization,
    nonce: proof?.nonce,
    proof: proof?.jti,
    certificate: thumbprint(req.socket.getPeerX509Certificate()),
    ...more,
  });
}

async function listen(tlsOptions) {
  const server = createServer(tlsOptions);
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  server.port = server.address().port;
  server.url = `https://127.0.0.1:${server.port}`;
  return server;
}

async function firstLine() {
  let text = '';
  while (!text.includes('\n')) {
    text += await new Promise((resolve) => { process.stdin.once('data', resolve); });
  }
  return text;
}

// Further lines are answered, so that the test knows that it has read everything before.
process.stdin.on('data', () => print({ kind: 'mark' }));
process.stdin.on('end', () => process.exit());
print({ kind: 'ready', issuer: issuerURL, alias: alias.url, site: site.url });
