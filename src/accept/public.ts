// What anybody may ask: probes, and the upstream's public documents.

import { Elysia } from 'elysia'
import { readBounded } from '../dispatch/body.ts'
import type { Exchange } from '../exchange.ts'
import type { Decision } from '../refusal.ts'
import type { PublicDocument, PublicDocuments } from '../upstream/documents.ts'
import type { Answers } from './answers.ts'
import { arrivals } from './arrivals.ts'
import type { CountAddress } from './count-address.ts'
import type { Probes } from './probes.ts'
import { ROUTES } from './routes.ts'

export interface PublicParts {
  readonly answers: Answers
  readonly probes: Probes
  readonly countAddress: CountAddress
  readonly documents: PublicDocuments | undefined
  readonly bodyTimeoutMs: () => number
}

/** `{"enclaveUrl":…,"repo":…}` and nothing more. */
const MAX_ATTESTATION_BODY_BYTES = 4096

export function publicRoutes(parts: PublicParts) {
  const { answers, probes, documents, countAddress } = parts

  const document = (exchange: Exchange, asked: Decision<PublicDocument>): Response => {
    if (!asked.ok) return answers.refuse(exchange, asked)
    const { status, contentType, body } = asked.value
    const { headers } = exchange
    if (contentType !== undefined) headers.set('content-type', contentType)
    exchange.bytesOut = body.byteLength
    return answers.reply(exchange, new Response(body, { status, headers }))
  }
  const routes = new Elysia({ name: 'public' })
    .use(arrivals)
    .get(ROUTES.health.path, ({ arrival: { exchange } }) => probes.health(exchange))
    .get(ROUTES.healthz.path, ({ arrival: { exchange } }) => probes.healthz(exchange))
    .get(ROUTES.readyz.path, ({ arrival: { exchange } }) => probes.readyz(exchange))
    .route('HEAD', ROUTES.root.path, ({ arrival: { exchange } }) => answers.json(exchange, 200, {}))
    .route('HEAD', ROUTES.hello.path, ({ arrival: { exchange } }) =>
      answers.json(exchange, 200, {}),
    )
  if (!documents) return routes

  return routes
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
        const body = await readBounded(request, MAX_ATTESTATION_BODY_BYTES, parts.bodyTimeoutMs())
        if (!body.ok) return answers.refuse(exchange, body)
        exchange.bytesIn = body.value.byteLength
        const { monotonicMs } = exchange.at
        return document(exchange, await documents.attestation(body.value, monotonicMs))
      },
      { parse: 'none' },
    )
}
