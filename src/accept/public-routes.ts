// What anybody may ask: probes, and the upstream's public documents.

import { Elysia } from 'elysia'
import type { KeySource } from '../admit/jwks.ts'
import { readBounded } from '../dispatch/body.ts'
import type { Exchange } from '../exchange.ts'
import type { Decision } from '../refusal.ts'
import type { Ledger } from '../settle/ledger.ts'
import type { Document, Documents } from '../upstream/documents.ts'
import type { Answers } from './answers.ts'
import { arrivals } from './arrivals.ts'
import type { CountAddress } from './count-address.ts'
import { ROUTES } from './routes.ts'

export interface PublicParts {
  readonly answers: Answers
  /** The upstreams that are configured, as `/health` names them. */
  readonly backend: string
  /** Where users' tokens are taken. */
  readonly keys: KeySource | undefined
  readonly ledger: Ledger
  readonly countAddress: CountAddress
  readonly documents: Documents | undefined
  readonly bodyTimeoutMs: number
  readonly draining: () => boolean
}

/** `{"enclaveUrl":…,"repo":…}` and nothing more. */
const MAX_ATTESTATION_BODY_BYTES = 4096

export function publicRoutes(parts: PublicParts) {
  const { answers, keys, ledger, documents, countAddress } = parts

  const document = (exchange: Exchange, asked: Decision<Document>): Response => {
    if (!asked.ok) return answers.refuse(exchange, asked)
    const { status, contentType, body } = asked.value
    const { headers } = exchange
    if (contentType !== undefined) headers.set('content-type', contentType)
    exchange.bytesOut = body.byteLength
    return answers.reply(exchange, new Response(body, { status, headers }))
  }
  const notReady = (exchange: Exchange): string | undefined => {
    if (parts.draining()) return 'draining'
    return keys && !keys.ready(exchange.at.monotonicMs) ? 'keys_unavailable' : undefined
  }

  const probes = new Elysia({ name: 'probes' })
    .use(arrivals)
    .get(ROUTES.health.path, ({ arrival: { exchange } }) =>
      answers.json(exchange, 200, { status: 'ok', backend: parts.backend }),
    )
    .get(ROUTES.healthz.path, ({ arrival: { exchange } }) =>
      answers.json(exchange, 200, { status: 'ok' }),
    )
    .get(ROUTES.readyz.path, ({ arrival: { exchange } }) => {
      const reason = notReady(exchange)
      const health = ledger.health()
      // A ledger that fails stops no inference, and so takes no gate out of rotation; but it is said.
      const said = health.ok ? {} : { ledger: health.reason }
      return reason === undefined
        ? answers.json(exchange, 200, { status: 'ready', ...said })
        : answers.json(exchange, 503, { status: 'not_ready', reason, ...said })
    })
    .route('HEAD', ROUTES.root.path, ({ arrival: { exchange } }) => answers.json(exchange, 200, {}))
    .route('HEAD', ROUTES.hello.path, ({ arrival: { exchange } }) =>
      answers.json(exchange, 200, {}),
    )
  if (!documents) return probes

  return probes
    .get(ROUTES.hpkeKeys.path, async ({ arrival: { exchange }, request, server }) => {
      const counted = countAddress(exchange, request, server)
      if (!counted.ok) return answers.refuse(exchange, counted)
      return document(exchange, await documents.hpkeKeys(exchange.at.monotonicMs))
    })
    .get(ROUTES.attestation.path, async ({ arrival: { exchange }, request, server }) => {
      const counted = countAddress(exchange, request, server)
      if (!counted.ok) return answers.refuse(exchange, counted)
      return document(exchange, await documents.attestation(undefined, exchange.at.monotonicMs))
    })
    .post(
      ROUTES.attestationFor.path,
      async ({ arrival: { exchange }, request, server }) => {
        const counted = countAddress(exchange, request, server)
        if (!counted.ok) return answers.refuse(exchange, counted)
        const body = await readBounded(request, MAX_ATTESTATION_BODY_BYTES, parts.bodyTimeoutMs)
        if (!body.ok) return answers.refuse(exchange, body)
        exchange.bytesIn = body.value.byteLength
        const { monotonicMs } = exchange.at
        return document(exchange, await documents.attestation(body.value, monotonicMs))
      },
      { parse: 'none' },
    )
}
