// Every path and method that there is. What is not here is 404 or 405 and goes no further; the
// README's table comes from here too. Which of them a gate serves depends on what is configured.

import type { Dialect } from '../refusal.ts'

export interface Route {
  readonly method: 'GET' | 'POST' | 'HEAD'
  /** A last segment `:id` stands for a name of a model. */
  readonly path: string
  /**
   * Who may: anybody; a user's JWT with the scope `inference`; a device's token; a device's token,
   * for what is its own, or the operator's key; the operator's key alone.
   */
  readonly access: 'public' | 'user' | 'device' | 'own' | 'operator'
  readonly dialect: Dialect
  /** Served where this is configured; absent means always. */
  readonly needs?: Need
  readonly about: string
}

export type Need = 'tinfoil' | 'anthropic'

export const ROUTES = {
  health: open('GET', '/health', '`{"status":"ok","backend":"tinfoil"}`'),
  healthz: open('GET', '/healthz', '`{"status":"ok"}`: the process is alive.'),
  readyz: open('GET', '/readyz', '503 while draining, or while no key has ever been loaded.'),
  hpkeKeys: open('GET', '/.well-known/hpke-keys', "The enclave's HPKE keys.", 'tinfoil'),
  attestation: open('GET', '/attestation', 'The attestation bundle.', 'tinfoil'),
  attestationFor: open('POST', '/attestation', 'The same for a chosen enclave.', 'tinfoil'),
  root: open('HEAD', '/', "Claude Code's first word.", 'anthropic'),
  hello: open('HEAD', '/api/hello', "Claude Code's warm-up.", 'anthropic'),
  bootstrap: open('POST', '/bootstrap', 'Enrols a device: a token for it.', 'anthropic'),
  refresh: open('POST', '/refresh', "A device's next token for its present one.", 'anthropic'),
  usage: admin('GET', '/admin/usage', 'own', 'Stats and the last requests, paged.'),
  stats: admin('GET', '/admin/stats', 'own', 'Stats.'),
  circuit: admin('GET', '/admin/circuit-breaker', 'operator', 'The state of each circuit.'),
  circuitReset: admin('POST', '/admin/circuit-breaker/reset', 'operator', 'Closes them.'),
  devices: admin('GET', '/admin/devices', 'operator', 'The enrolments.'),
  revoke: admin('POST', '/admin/revoke', 'operator', 'Ends a device, a family or a token.'),
} as const satisfies Readonly<Record<string, Route>>

/** Those that are relayed. `/v1/models` answers in the dialect that the request speaks. */
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

/** Models' names as providers write them; nothing in it means anything to a URL. */
const MODEL_SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$/
const PARAMETER = '/:id'

export function routeFinder(served: readonly Route[]): FindRoute {
  const found = new Map<string, Found>()
  for (const [pattern, routes] of Map.groupBy(served, ({ path }) => path)) {
    const probe = SILENT.has(pattern) ? ['HEAD'] : []
    const dialects = new Set(routes.map(({ dialect }) => dialect))
    found.set(pattern, {
      pattern,
      methods: new Set([...routes.map(({ method }) => method), ...probe]),
      dialect: dialects.size === 1 ? routes[0]?.dialect : undefined,
      routes: (method) =>
        routes.filter((route) => route.method === (isSilent(pattern) ? 'GET' : method)),
    })
  }
  return (path) => {
    const exact = found.get(path)
    if (exact) return path.endsWith(PARAMETER) ? undefined : exact
    const cut = path.lastIndexOf('/')
    return MODEL_SEGMENT.test(path.slice(cut + 1))
      ? found.get(path.slice(0, cut) + PARAMETER)
      : undefined
  }
}

function open(method: Route['method'], path: string, about: string, needs?: Need): Route {
  const dialect = needs === 'anthropic' ? 'anthropic' : 'openai'
  return { method, path, access: 'public', dialect, about, ...(needs && { needs }) }
}

function sealed(method: 'GET' | 'POST', path: string, about: string): Route {
  return { method, path, access: 'user', dialect: 'openai', needs: 'tinfoil', about }
}

function claude(method: 'GET' | 'POST', path: string, about: string): Route {
  return { method, path, access: 'device', dialect: 'anthropic', needs: 'anthropic', about }
}

function admin(
  method: 'GET' | 'POST',
  path: string,
  access: 'own' | 'operator',
  about: string,
): Route {
  return { method, path, access, dialect: 'anthropic', about }
}
