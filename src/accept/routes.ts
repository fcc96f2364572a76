// Every path and method that there is. What is not here is 404 or 405 and goes no further; the
// README's table comes from here too.

export interface Route {
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** `public` asks for nothing, `protected` for a token with the scope `inference`. */
  readonly access: 'public' | 'protected'
  readonly about: string
}

const open = (method: Route['method'], path: string, about: string): Route => ({
  method,
  path,
  access: 'public',
  about,
})
const guarded = (method: Route['method'], path: string, about: string): Route => ({
  method,
  path,
  access: 'protected',
  about,
})

export const ROUTES = {
  health: open('GET', '/health', '`{"status":"ok","backend":"tinfoil"}`'),
  healthz: open('GET', '/healthz', 'The process is alive.'),
  readyz: open('GET', '/readyz', '503 while draining, or while no key has ever been loaded.'),
  hpkeKeys: open('GET', '/.well-known/hpke-keys', "The enclave's HPKE keys."),
  attestation: open('GET', '/attestation', 'The attestation bundle.'),
  attestationFor: open('POST', '/attestation', 'The same for a chosen enclave.'),
} as const satisfies Readonly<Record<string, Route>>

export const INFERENCE_ROUTES: readonly Route[] = [
  guarded('GET', '/v1/models', 'The models on offer.'),
  guarded('POST', '/v1/chat/completions', 'Chat completions.'),
  guarded('POST', '/v1/completions', 'Text completions.'),
  guarded('POST', '/v1/responses', 'Responses.'),
  guarded('POST', '/v1/embeddings', 'Embeddings.'),
  guarded('POST', '/v1/audio/transcriptions', 'Speech to text.'),
  guarded('POST', '/v1/audio/speech', 'Text to speech.'),
]

export const ALL_ROUTES: readonly Route[] = [...Object.values(ROUTES), ...INFERENCE_ROUTES]

/** Answered without a line in the log: probes come every second. */
const SILENT = new Set<string>([ROUTES.health.path, ROUTES.healthz.path, ROUTES.readyz.path])

export function isSilent(path: string): boolean {
  return SILENT.has(path)
}

/** Probes also use HEAD; nothing else does. */
const METHODS = new Map<string, ReadonlySet<string>>()
for (const { path, method } of ALL_ROUTES) {
  const known = METHODS.get(path) ?? []
  METHODS.set(path, new Set([...known, method, ...(SILENT.has(path) ? ['HEAD'] : [])]))
}

/** The methods of a path, undefined where there is no such path. */
export function methodsOf(path: string): ReadonlySet<string> | undefined {
  return METHODS.get(path)
}
