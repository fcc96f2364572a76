// Every path and method that there is. What is not here is 404 or 405 and goes no further; the
// README's table comes from here too. Which of them a gate serves depends on what is configured.

import type { Dialect } from '../refusal.ts'

export interface Route {
  readonly method: 'GET' | 'POST' | 'HEAD' | 'DELETE'
  /** One segment `:id` stands for the name of a model, a batch or a file. */
  readonly path: string
  /**
   * Who may: anybody; a user's JWT with the scope `inference`; a device's token; the session of the
   * one who has signed in; a device's token, for what is its own, or the operator's key; the
   * operator's key alone.
   */
  readonly access: 'public' | 'user' | 'device' | 'session' | 'own' | 'operator'
  readonly dialect: Dialect
  /** Served where this is configured; absent means always. */
  readonly needs?: Need
  /** And where this is. */
  readonly orNeeds?: Need
  readonly about: string
}

export type Need = 'tinfoil' | 'anthropic' | 'login' | 'anthropic-oauth'

export function isServed(route: Route, served: (need: Need) => boolean): boolean {
  const { needs, orNeeds } = route
  return needs === undefined || served(needs) || (orNeeds !== undefined && served(orNeeds))
}

export const ROUTES = {
  health: open('GET', '/health', '`{"status":"ok","backend":"tinfoil"}`'),
  healthz: open('GET', '/healthz', '`{"status":"ok"}`: the process is alive.'),
  readyz: open('GET', '/readyz', '503 while draining, or while no key has ever been loaded.'),
  hpkeKeys: open('GET', '/.well-known/hpke-keys', "The enclave's HPKE keys.", 'tinfoil'),
  attestation: open('GET', '/attestation', 'The attestation bundle.', 'tinfoil'),
  attestationFor: open('POST', '/attestation', 'The same for a chosen enclave.', 'tinfoil'),
  root: greeting('/', "Claude Code's first word."),
  hello: greeting('/api/hello', "Claude Code's warm-up."),
  bootstrap: open('POST', '/bootstrap', 'Enrols a device: a token for it.', 'anthropic'),
  refresh: open('POST', '/refresh', "A device's next token for its present one.", 'anthropic'),
  device: claude('GET', '/device', "A device's own limits, caps and token, as they stand."),
  loginPage: open('GET', '/auth/device', 'The page to sign in on.', 'login'),
  loginStart: open('POST', '/auth/device/start', 'Begins a sign-in: where it goes on.', 'login'),
  loginOpen: open(
    'GET',
    '/auth/device/open',
    "A terminal's sign-in, taken up in a browser.",
    'login',
  ),
  loginSubmit: open(
    'POST',
    '/auth/device/submit',
    'Ends it by `code#state`: a session key.',
    'login',
  ),
  loginCallback: open('GET', '/auth/callback', 'Ends it where the redirect comes back.', 'login'),
  loginStatus: open('GET', '/auth/status', 'Whether one is signed in, and until when.', 'login'),
  loginRefresh: open('POST', '/auth/refresh', 'Refreshes the access token now.', 'login'),
  loginLogout: open('POST', '/auth/logout', 'Ends the session.', 'login'),
  loginStyle: open('GET', '/auth/assets/login.css', "The page's style.", 'login'),
  loginScript: open('GET', '/auth/assets/login.js', "The page's script.", 'login'),
  loginIcon: open('GET', '/auth/assets/login.svg', "The page's icon.", 'login'),
  usage: admin('GET', '/admin/usage', 'own', 'Stats and the last requests, paged.'),
  stats: admin('GET', '/admin/stats', 'own', 'Stats.'),
  circuit: admin('GET', '/admin/circuit-breaker', 'operator', 'The state of each circuit.'),
  circuitReset: admin('POST', '/admin/circuit-breaker/reset', 'operator', 'Closes them.'),
  devices: admin('GET', '/admin/devices', 'operator', 'The enrolments.'),
  revoke: admin('POST', '/admin/revoke', 'operator', 'Ends a device, a family or a token.'),
} as const satisfies Readonly<Record<string, Route>>

/**
 * Those that are relayed. `/v1/models` answers in the dialect that the request speaks. A gate has one
 * Anthropic: behind a key, for devices, or behind a sign-in, for one person and all of its API.
 */
export const INFERENCE_ROUTES: readonly Route[] = [
  sealed('GET', '/v1/models', 'The models on offer.'),
  sealed('POST', '/v1/chat/completions', 'Chat completions.'),
  sealed('POST', '/v1/completions', 'Text completions.'),
  sealed('POST', '/v1/responses', 'Responses.'),
  sealed('POST', '/v1/embeddings', 'Embeddings.'),
  sealed('POST', '/v1/audio/transcriptions', 'Speech to text.'),
  sealed('POST', '/v1/audio/speech', 'Text to speech.'),
  claude('POST', '/v1/messages', 'Messages.'),
  claude('POST', '/v1/messages/count_tokens', 'Counts tokens.'),
  claude('POST', '/v1/complete', 'Legacy completions.'),
  claude('GET', '/v1/models', 'The models on offer, where `anthropic-version` is sent.'),
  claude('GET', '/v1/models/:id', 'One of them.'),
  signedIn('POST', '/v1/messages', 'Messages.'),
  signedIn('POST', '/v1/messages/count_tokens', 'Counts tokens.'),
  signedIn('POST', '/v1/complete', 'Legacy completions.'),
  signedIn('GET', '/v1/models', 'The models on offer, where `anthropic-version` is sent.'),
  signedIn('GET', '/v1/models/:id', 'One of them.'),
  signedIn('POST', '/v1/messages/batches', 'Starts a batch.'),
  signedIn('GET', '/v1/messages/batches', 'The batches.'),
  signedIn('GET', '/v1/messages/batches/:id', 'One of them.'),
  signedIn('POST', '/v1/messages/batches/:id/cancel', 'Ends it early.'),
  signedIn('GET', '/v1/messages/batches/:id/results', 'Its results.'),
  signedIn('DELETE', '/v1/messages/batches/:id', 'Deletes it.'),
  signedIn('POST', '/v1/files', 'Uploads a file.'),
  signedIn('GET', '/v1/files', 'The files.'),
  signedIn('GET', '/v1/files/:id', 'What is known of one.'),
  signedIn('GET', '/v1/files/:id/content', 'Its content.'),
  signedIn('DELETE', '/v1/files/:id', 'Deletes it.'),
]

export const ALL_ROUTES: readonly Route[] = [...Object.values(ROUTES), ...INFERENCE_ROUTES]

/** Answered without a line in the log: probes come every second. */
const SILENT = new Set<string>([ROUTES.health.path, ROUTES.healthz.path, ROUTES.readyz.path])

export function isSilent(path: string): boolean {
  return SILENT.has(path)
}

export interface Found {
  /** The path as the route has it. */
  readonly pattern: string
  readonly methods: ReadonlySet<string>
  /** Of all its routes; undefined where they differ. */
  readonly dialect: Dialect | undefined
  /** By method; two where two dialects share it. */
  routes(method: string): readonly Route[]
}

/** From a raw path to its routes among those that are served; undefined where there is none. */
export type FindRoute = (path: string) => Found | undefined

const NONE: readonly Route[] = []

/** Names as providers give them to models, batches and files; none means anything to a URL. */
const NAME_SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$/
const PARAMETER = ':id'

export function routeFinder(served: readonly Route[]): FindRoute {
  const found = new Map<string, Found>()
  for (const [pattern, routes] of Map.groupBy(served, ({ path }) => path)) {
    const probe = SILENT.has(pattern) ? ['HEAD'] : []
    const dialects = new Set(routes.map(({ dialect }) => dialect))
    const byMethod = Map.groupBy(routes, ({ method }): string => method)
    found.set(pattern, {
      pattern,
      methods: new Set([...routes.map(({ method }) => method), ...probe]),
      dialect: dialects.size === 1 ? routes[0]?.dialect : undefined,
      routes: (method) => byMethod.get(isSilent(pattern) ? 'GET' : method) ?? NONE,
    })
  }
  return (path) => {
    const exact = found.get(path)
    if (exact) return path.includes(PARAMETER) ? undefined : exact
    const last = path.lastIndexOf('/')
    return found.get(named(path, last, path.length)) ?? found.get(inner(path, last))
  }
}

/** The path with a name between `slash` and `end` replaced by its parameter; '' where none is. */
function named(path: string, slash: number, end: number): string {
  if (slash < 0 || !NAME_SEGMENT.test(path.slice(slash + 1, end))) return ''
  return `${path.slice(0, slash + 1)}${PARAMETER}${path.slice(end)}`
}

const inner = (path: string, last: number): string =>
  last > 0 ? named(path, path.lastIndexOf('/', last - 1), last) : ''

function open(method: Route['method'], path: string, about: string, needs?: Need): Route {
  const dialect = needs === 'anthropic' || needs === 'login' ? 'anthropic' : 'openai'
  return { method, path, access: 'public', dialect, about, ...(needs && { needs }) }
}

function sealed(method: 'GET' | 'POST', path: string, about: string): Route {
  return { method, path, access: 'user', dialect: 'openai', needs: 'tinfoil', about }
}

function claude(method: 'GET' | 'POST', path: string, about: string): Route {
  return { method, path, access: 'device', dialect: 'anthropic', needs: 'anthropic', about }
}

function greeting(path: string, about: string): Route {
  return { ...open('HEAD', path, about, 'anthropic'), orNeeds: 'anthropic-oauth' }
}

function signedIn(method: 'GET' | 'POST' | 'DELETE', path: string, about: string): Route {
  return {
    method,
    path,
    access: 'session',
    dialect: 'anthropic',
    needs: 'anthropic-oauth',
    about,
  }
}

function admin(
  method: 'GET' | 'POST',
  path: string,
  access: 'own' | 'operator',
  about: string,
): Route {
  return { method, path, access, dialect: 'anthropic', about }
}
