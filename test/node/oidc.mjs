// An OpenID Connect provider for the tests: node oidc.mjs '{"port":9000,"redirects":["http://127.0.0.1:1/oauth"]}'
//
// Anybody signs in under any name with any password. Who it is, is made of the name, or stands in "accounts". A client signs by the
// algorithm of its row, and hears at its "logout" address who has signed out. POST /test/rotate makes new keys; with ?keep=1 the old ones stay published.
// POST /test/account?name=NAME takes as its body what somebody's claims are from now on; null removes them.
import { generateKeyPair } from 'node:crypto'
import { createServer } from 'node:http'
import { promisify } from 'node:util'
import Provider from 'oidc-provider'

const options = JSON.parse(process.argv[2])
const issuer = `http://127.0.0.1:${options.port}`
const accounts = options.accounts ?? {}

async function newKeys() {
  const kinds = [['rsa', { modulusLength: 2048 }], ['ec', { namedCurve: 'P-256' }]]
  return Promise.all(kinds.map(async ([kind, parameters]) => {
    const { privateKey } = await promisify(generateKeyPair)(kind, parameters)
    return { ...privateKey.export({ format: 'jwk' }), use: 'sig' }
  }))
}

function claimsOf(name) {
  return {
    sub: name,
    name: `${name} of the tests`,
    preferred_username: name,
    email: `${name}@example.test`,
    email_verified: true,
    ...accounts[name],
  }
}

const client = (row) => ({
  client_id: row.id,
  client_secret: row.secret,
  token_endpoint_auth_method: row.auth ?? 'client_secret_basic',
  id_token_signed_response_alg: row.alg ?? 'RS256',
  redirect_uris: options.redirects,
  ...(row.logout && { backchannel_logout_uri: row.logout, backchannel_logout_session_required: true }),
})

function newProvider(keys) {
  const provider = new Provider(issuer, {
    clients: options.clients.map(client),
    jwks: { keys },
    cookies: { keys: ['of a test, not secret'] },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username'], groups: ['groups'] },
    conformIdTokenClaims: !options.claims_in_id_token, // as the standard has it, userinfo alone says more than who it is
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256'] },
    features: { backchannelLogout: { enabled: true } },
    fetch: (url, { dispatcher, ...how }) => fetch(url, how), // clients listen on loopback, where the default does not go
    findAccount: (ctx, name) => accounts[name] === null ? undefined : { accountId: name, claims: () => claimsOf(name) },
    pkce: { required: () => false },
    ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
  })
  return provider.callback()
}

let keys = await newKeys()
let answer = newProvider(keys)

async function rotate(keep) {
  const fresh = await newKeys()
  const published = keep ? [...fresh, ...keys] : fresh
  keys = fresh
  answer = newProvider(published)
}

async function describe(name, request) {
  accounts[name] = JSON.parse((await request.toArray()).join(''))
}

const server = createServer((request, response) => {
  const url = new URL(request.url, issuer)
  if (request.method === 'POST' && url.pathname === '/test/account') {
    describe(url.searchParams.get('name'), request).then(() => response.writeHead(204).end(), () => response.writeHead(500).end())
    return
  }
  if (request.method === 'POST' && url.pathname === '/test/rotate') {
    rotate(url.searchParams.has('keep')).then(() => response.writeHead(204).end(), () => response.writeHead(500).end())
    return
  }
  answer(request, response)
})
server.listen(options.port, '127.0.0.1')

process.on('SIGTERM', () => {
  server.close()
  server.closeAllConnections()
})
