// Every path and method that there is. What is not here is 404 or 405 and goes no further; the
// table in docs/api.md comes from here too. Which of them a gate serves depends on what is configured.

import { CALLER_KINDS, type CallerKind, type RouteGroup } from '../names.ts'
import type { Choices } from '../dispatch/choose.ts'
import type { Dialect } from '../refusal.ts'
import type { Endpoint } from '../upstream/upstream.ts'

type Method = 'GET' | 'POST' | 'HEAD' | 'DELETE'

export interface Route {
  readonly method: Method
  /** One segment `:id` stands for the name of a model, a batch or a file. */
  readonly path: string
  /**
   * - `public`: anybody
   * - `relayed`: the callers that the table of upstreams allows
   * - `caller`: any caller, for what is its own
   * - `own`: a device, for what is its own, or the operator
   * - `operator`: the operator alone
   */
  readonly access: 'public' | 'relayed' | 'caller' | 'own' | 'operator'
  readonly dialect: Dialect
  /** Served where one of these is configured; absent means always. */
  readonly needs?: readonly Feature[]
  /** Of a relayed route. */
  readonly relay?: Relayed
  readonly about: string
}

export interface Relayed {
  readonly group: RouteGroup
  readonly choices: Choices
  /** That reach anything. */
  readonly kinds: readonly CallerKind[]
}

/** A route that some upstream may serve, in each dialect that has it. */
export interface RelayedRoute {
  readonly method: Exclude<Method, 'HEAD'>
  readonly path: string
  readonly group: RouteGroup
  /** Where there are two, the request says which it speaks. */
  readonly dialects: readonly Dialect[]
  readonly about: string
}

/** What some routes of our own are for. */
export type Feature = 'enclave' | 'devices' | 'sign-in'

export const ROUTES = {
  health: open('GET', '/health', '`{"status":"ok","backend":"tinfoil"}`'),
  healthz: open('GET', '/healthz', '`{"status":"ok"}`: the process is alive.'),
  readyz: open('GET', '/readyz', '503 while draining, or while no key has ever been loaded.'),
  hpkeKeys: open('GET', '/.well-known/hpke-keys', "The enclave's HPKE keys.", 'enclave'),
  attestation: open('GET', '/attestation', 'The attestation bundle.', 'enclave'),
  attestationFor: open('POST', '/attestation', 'The same for a chosen enclave.', 'enclave'),
  root: greeting('/', "Claude Code's first word."),
  hello: greeting('/api/hello', "Claude Code's warm-up."),
  bootstrap: open('POST', '/bootstrap', 'Enrols a device: a token for it.', 'devices'),
  refresh: open('POST', '/refresh', "A device's next token for its present one.", 'devices'),
  device: {
    method: 'GET',
    path: '/device',
    access: 'caller',
    dialect: 'anthropic',
    about: "A caller's own policy, caps and credential, as they stand.",
  },
  loginPage: open('GET', '/auth/device', 'The page to sign in on.', 'sign-in'),
  loginStart: open('POST', '/auth/device/start', 'Begins a sign-in: where it goes on.', 'sign-in'),
  loginOpen: open(
    'GET',
    '/auth/device/open',
    "A terminal's sign-in, taken up in a browser.",
    'sign-in',
  ),
  loginSubmit: open(
    'POST',
    '/auth/device/submit',
    'Ends it by `code#state`: a session key.',
    'sign-in',
  ),
  loginCallback: open('GET', '/auth/callback', 'Ends it where the redirect comes back.', 'sign-in'),
  loginStatus: open('GET', '/auth/status', 'Whether one is signed in, and until when.', 'sign-in'),
  loginRefresh: open('POST', '/auth/refresh', 'Refreshes the access token now.', 'sign-in'),
  loginLogout: open('POST', '/auth/logout', 'Ends the session.', 'sign-in'),
  loginStyle: open('GET', '/auth/assets/login.css', "The page's style.", 'sign-in'),
  loginScript: open('GET', '/auth/assets/login.js', "The page's script.", 'sign-in'),
  loginIcon: open('GET', '/auth/assets/login.svg', "The page's icon.", 'sign-in'),
  usage: admin('GET', '/admin/usage', 'own', 'Stats and the last requests, paged.'),
  stats: admin('GET', '/admin/stats', 'own', 'Stats.'),
  reservations: admin(
    'GET',
    '/admin/reservations',
    'operator',
    'What requests under way hold of caps.',
  ),
  circuit: admin('GET', '/admin/circuit-breaker', 'operator', 'The state of each circuit.'),
  circuitReset: admin('POST', '/admin/circuit-breaker/reset', 'operator', 'Closes them.'),
  devices: admin('GET', '/admin/devices', 'operator', 'The enrolments.'),
  revoke: admin('POST', '/admin/revoke', 'operator', 'Ends a device, a family or a token.'),
} as const satisfies Readonly<Record<string, Route>>

/** Which upstream serves one, and for whom, is for dispatch/choose.ts to say. */
export const RELAYED_ROUTES: readonly RelayedRoute[] = [
  {
    method: 'GET',
    path: '/v1/models',
    group: 'models',
    dialects: ['openai', 'anthropic'],
    about: "The models on offer; Anthropic's where `anthropic-version` or `x-api-key` is sent.",
  },
  {
    method: 'GET',
    path: '/v1/models/:id',
    group: 'models',
    dialects: ['openai', 'anthropic'],
    about: 'One of the models.',
  },
  openai('POST', '/v1/chat/completions', 'chat', 'Chat completions.'),
  openai('POST', '/v1/completions', 'completions', 'Text completions.'),
  openai('POST', '/v1/responses', 'responses', 'Responses.'),
  openai('POST', '/v1/embeddings', 'embeddings', 'Embeddings.'),
  openai('POST', '/v1/moderations', 'moderations', 'Moderations.'),
  openai('POST', '/v1/images/generations', 'images', 'Pictures from text.'),
  openai('POST', '/v1/images/edits', 'images', 'Pictures from pictures.'),
  openai('POST', '/v1/audio/transcriptions', 'audio', 'Speech to text.'),
  openai('POST', '/v1/audio/translations', 'audio', 'Speech to English text.'),
  openai('POST', '/v1/audio/speech', 'audio', 'Text to speech.'),
  anthropic('POST', '/v1/messages', 'messages', 'Messages.'),
  anthropic('POST', '/v1/messages/count_tokens', 'messages', 'Counts tokens.'),
  anthropic('POST', '/v1/complete', 'completions', 'Legacy completions.'),
  anthropic('POST', '/v1/messages/batches', 'batches', 'Starts a batch.'),
  anthropic('GET', '/v1/messages/batches', 'batches', 'The batches.'),
  anthropic('GET', '/v1/messages/batches/:id', 'batches', 'One of them.'),
  anthropic('POST', '/v1/messages/batches/:id/cancel', 'batches', 'Ends it early.'),
  anthropic('GET', '/v1/messages/batches/:id/results', 'batches', 'Its results.'),
  anthropic('DELETE', '/v1/messages/batches/:id', 'batches', 'Deletes it.'),
  anthropic('POST', '/v1/files', 'files', 'Uploads a file.'),
  anthropic('GET', '/v1/files', 'files', 'The files.'),
  anthropic('GET', '/v1/files/:id', 'files', "A file's metadata."),
  anthropic('GET', '/v1/files/:id/content', 'files', 'Its content.'),
  anthropic('DELETE', '/v1/files/:id', 'files', 'Deletes it.'),
]

/** `choose`: who reaches what on one route. A route that nobody reaches is not served. */
export function servedRoutes(
  has: (feature: Feature) => boolean,
  choose: (endpoint: Endpoint) => Choices,
): readonly Route[] {
  const own: readonly Route[] = Object.values(ROUTES)
  const relayed = RELAYED_ROUTES.flatMap(({ dialects, group, ...route }) =>
    dialects.flatMap((dialect): Route[] => {
      const choices = choose({ dialect, method: route.method, path: route.path })
      const kinds = CALLER_KINDS.filter((kind) => choices[kind].length > 0)
      if (kinds.length === 0) return []
      return [{ ...route, access: 'relayed', dialect, relay: { group, choices, kinds } }]
    }),
  )
  return [...own.filter(({ needs }) => needs?.some(has) ?? true), ...relayed]
}

/** Answered without a line in the log: probes come every second. */
const SILENT = new Set<string>([ROUTES.health.path, ROUTES.healthz.path, ROUTES.readyz.path])

export function isSilent(path: string): boolean {
  return SILENT.has(path)
}

function open(method: Method, path: string, about: string, needs?: Feature): Route {
  const dialect = needs === 'devices' || needs === 'sign-in' ? 'anthropic' : 'openai'
  return { method, path, access: 'public', dialect, about, ...(needs && { needs: [needs] }) }
}

function greeting(path: string, about: string): Route {
  return { ...open('HEAD', path, about, 'devices'), needs: ['devices', 'sign-in'] }
}

function openai(
  method: RelayedRoute['method'],
  path: string,
  group: RouteGroup,
  about: string,
): RelayedRoute {
  return { method, path, group, dialects: ['openai'], about }
}

function anthropic(
  method: RelayedRoute['method'],
  path: string,
  group: RouteGroup,
  about: string,
): RelayedRoute {
  return { method, path, group, dialects: ['anthropic'], about }
}

function admin(
  method: 'GET' | 'POST',
  path: string,
  access: 'own' | 'operator',
  about: string,
): Route {
  return { method, path, access, dialect: 'anthropic', about }
}
