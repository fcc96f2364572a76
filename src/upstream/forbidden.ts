// Decides what a 403 is about. The caller gets the upstream's own message if it is about the request (its
// model, a policy, a region). A 403 about our key or our address is for the operator: the caller can do
// nothing, and the message describes an account that is not theirs.
//
// If nothing shows that it is about the request, it counts as about us, which is the safe side: a bare
// `Forbidden`, an HTML page (Cloudflare's contain our address), an empty body. The caller gets 502 with
// `x-should-retry: false`, and the log has the rest.

export type Forbidden = 'request' | 'key' | 'unclear'

interface ErrorWords {
  /** `code`, `type`, `status` and `param`, in lower case. */
  readonly names: readonly string[]
  readonly message: string
}

/** In the order in which they are applied. */
const RULES: readonly {
  readonly about: 'request' | 'key'
  readonly names?: ReadonlySet<string>
  readonly message?: RegExp
}[] = [
  {
    about: 'key',
    names: new Set([
      // OpenAI, Anthropic
      'authentication_error',
      'invalid_api_key',
      'missing_scope',
      'account_deactivated',
      'access_terminated',
      'billing_error',
      'billing_not_active',
      'insufficient_quota',
      // Azure
      'authenticationtypedisabled',
      'permissiondenied',
      'invalidauthenticationtoken',
      // AWS
      'unrecognizedclientexception',
      'expiredtokenexception',
      'expiredtoken',
      'invalidsignatureexception',
      'missingauthenticationtokenexception',
      'invalidclienttokenid',
      // Google
      'unauthenticated',
      'api_key_invalid',
      'service_disabled',
      // LiteLLM and vLLM behind it
      'auth_error',
      'expired_key',
      'token_not_found_in_db',
    ]),
  },
  {
    about: 'request',
    names: new Set([
      // OpenAI
      'model_not_found',
      'model',
      'unsupported_country_region_territory',
      'request_forbidden',
      'content_policy_violation',
      'content_filter',
      'policy_violation',
      'moderation_blocked',
      'unsupported_value',
      'unsupported_parameter',
      // Groq, LiteLLM, Azure
      'model_permission_blocked_org',
      'model_permission_blocked_project',
      'model_not_available',
      'key_model_access_denied',
      'team_model_access_denied',
      'responsibleaipolicyviolation',
      'operationnotsupported',
    ]),
  },
  {
    about: 'key',
    message:
      /\b(?:invalid|incorrect|expired|revoked|disabled|deactivated|leaked|missing|unknown|malformed|no)\b.{0,40}\b(?:api[ _-]?key|key|credentials?|(?:access|bearer|security|oauth|auth\w*) token|token|subscription|signature|scopes?)\b|\b(?:api[ _-]?key|credentials?|token|subscription key|signature|account|organi[sz]ation|workspace|project)\b.{0,60}\b(?:invalid|incorrect|expired|revoked|disabled|deactivated|suspended|banned|leaked|restricted|missing|exceeded|blocked|not valid|not active|not found|not recogni[sz]ed)\b|\bkey limit\b|\bkey based authentication\b|\bmissing scopes?\b|\bprincipal\b|\barn:|\bnot authorized to perform\b|\b(?:virtual network|firewall|private endpoint|public access|ip address|ip allow-?list|your ip)\b|\bnetwork settings\b|\bunregistered callers\b|\breferr?ers?\b|\brequests to this api\b|\bpermission '[^']{0,99}' denied\b|\baccess (?:was|has been) terminated\b|\bauthenticat(?:e|ed|ion)\b|\b(?:billing|credits?|payment|balance)\b/i,
  },
  {
    about: 'request',
    message:
      /\b(?:models?|deployments?|engine|region|countr(?:y|ies)|territor(?:y|ies)|location|polic(?:y|ies)|moderation|flagged|safety|harmful|content|prompt|input|terms|guardrails?|beta|preview|feature|parameter|endpoint|tools?|files?|batch(?:es)?|tier|plan|request not allowed)\b/i,
  },
  {
    about: 'key',
    message:
      /\b(?:api[ _-]?key|credentials?|(?:access|bearer|oauth|auth) tokens?|subscription|signature|unauthori[sz]ed|scopes?|accounts?|organi[sz]ations?|workspaces?|service is disabled)\b/i,
  },
]

/** Messages that say no more than the status. */
const BARE =
  /^(?:403 ?|error:? ?|http ?)*(?:status ?)?(?:forbidden|access (?:is )?(?:denied|forbidden)|permission[ _]?denied|not (?:allowed|permitted|authori[sz]ed)|(?:you|the caller) (?:are not|aren't|is not|do(?:es)? not have|do(?:es)?n't have) (?:allowed|permitted|authori[sz]ed|permissions?|access).{0,60})?[.! ]*$/i
const MAX_SHOWN = 2000
/** A longer message helps nobody. */
const MAX_WORDS = 4000

/** `body`: decoded, as latin1. */
export function forbiddenBy(body: string): Forbidden {
  const words = wordsOf(body)
  if (!words) return 'unclear'
  const { names, message } = words
  for (const rule of RULES) {
    if (rule.names && names.some((name) => rule.names?.has(name))) return rule.about
    if (rule.message?.test(message)) return rule.about
  }
  return message === '' || BARE.test(message) ? 'unclear' : 'request'
}

/** The text of `error.message`; undefined if there is nothing to show. */
export function errorMessage(body: string): string | undefined {
  const { error } = (parsedObject(body) ?? {}) as { error?: { message?: unknown } }
  const message = error?.message
  if (typeof message !== 'string' || message.length > MAX_SHOWN) return undefined
  const words = Buffer.from(message, 'latin1').toString('utf8')
  return /^[^\p{Cc}\p{Cf}]+$/u.test(words) ? words : undefined
}

/** The shapes of errors of OpenAI, Anthropic, Azure, Google, AWS and proxies in between. */
function wordsOf(body: string): ErrorWords | undefined {
  const parsed = parsedObject(body)
  if (!parsed) return undefined
  const inner = Object(parsed['error'] ?? listed(parsed['errors']) ?? {}) as Record<string, unknown>
  const texts = [inner['message'], parsed['error'], parsed['message'], parsed['detail']]
  const message = texts.find((each) => typeof each === 'string' && each !== '')
  const names = [inner, parsed]
    .flatMap(({ code, type, status, param, __type }) => [code, type, status, param, __type])
    .filter((each) => typeof each === 'string')
    .map((name) => name.toLowerCase())
  return { names, message: String(message ?? '').slice(0, MAX_WORDS) }
}

const listed = (value: unknown): unknown => (Array.isArray(value) ? value[0] : undefined)

function parsedObject(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body.replace(/^(?:\uFEFF|\u00EF\u00BB\u00BF)/, ''))
    // Google's compatible API wraps its error in a list.
    const only: unknown = Array.isArray(value) ? value[0] : value
    return typeof only === 'object' && only !== null ? (only as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
