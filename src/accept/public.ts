// The public routes: probes, what Claude Code asks first, and the enclave's public documents.

import type { Exchange } from '../exchange.ts'
import type { Decision } from '../refusal.ts'
import type { PublicDocument, PublicDocuments } from '../upstream/documents.ts'
import type { Answers } from './answers.ts'
import { routesFor } from './arrivals.ts'
import type { CountAddress } from './count-address.ts'
import { counted } from './counted.ts'
import { PROBES, type Probes } from './probes.ts'
import { readSmallBody } from './small-body.ts'

export interface PublicParts {
  readonly answers: Answers
  readonly probes: Probes
  readonly countAddress: CountAddress
  readonly documents: PublicDocuments | undefined
  readonly bodyTimeoutMs: () => number
}

/** Room for `{"enclaveUrl":…,"repo":…}`. */
const MAX_ATTESTATION_BODY_BYTES = 4096

export function probeRoutes(probes: Probes) {
  return routesFor('public', 'openai')
    .get(PROBES.health, ({ arrival: { exchange } }) => probes.health(exchange), {
      detail: { summary: '`{"status":"ok","backend":"tinfoil"}`' },
    })
    .get(PROBES.healthz, ({ arrival: { exchange } }) => probes.healthz(exchange), {
      detail: { summary: '`{"status":"ok"}`: the process is alive.' },
    })
    .get(PROBES.readyz, ({ arrival: { exchange } }) => probes.readyz(exchange), {
      detail: { summary: '503 while draining, or while no key has ever been loaded.' },
    })
}

export function documentRoutes(
  { answers, countAddress, bodyTimeoutMs }: PublicParts,
  documents: PublicDocuments,
) {
  const document = (exchange: Exchange, asked: Decision<PublicDocument>): Response => {
    if (!asked.ok) return answers.refuse(exchange, asked)
    const { status, contentType, body } = asked.value
    const { headers } = exchange
    if (contentType !== undefined) headers.set('content-type', contentType)
    exchange.bytesOut = body.byteLength
    return answers.reply(exchange, new Response(body, { status, headers }))
  }
  const bounds = { maxBytes: MAX_ATTESTATION_BODY_BYTES, timeoutMs: bodyTimeoutMs }

  return routesFor('public', 'openai')
    .derive(counted(answers, countAddress))
    .get(
      '/.well-known/hpke-keys',
      async ({ arrival: { exchange } }) =>
        document(exchange, await documents.hpkeKeys(exchange.at.monotonicMs)),
      { detail: { summary: "Returns the enclave's HPKE keys." } },
    )
    .get(
      '/attestation',
      async ({ arrival: { exchange } }) =>
        document(exchange, await documents.attestation(undefined, exchange.at.monotonicMs)),
      { detail: { summary: 'Returns the attestation bundle.' } },
    )
    .post(
      '/attestation',
      async ({ arrival, request }) => {
        const { exchange } = arrival
        // Passed unchanged: the upstream validates it.
        const body = await readSmallBody(arrival, request, bounds)
        if (!body.ok) return answers.refuse(exchange, body)
        const { monotonicMs } = exchange.at
        return document(exchange, await documents.attestation(body.value, monotonicMs))
      },
      { parse: 'none', detail: { summary: 'Returns the attestation bundle of a chosen enclave.' } },
    )
}

/** Claude Code's first requests. */
export function greetings(answers: Answers) {
  return routesFor('public', 'anthropic')
    .route('HEAD', '/', ({ arrival: { exchange } }) => answers.json(exchange, 200, {}), {
      detail: { summary: "Answers Claude Code's first request." },
    })
    .route('HEAD', '/api/hello', ({ arrival: { exchange } }) => answers.json(exchange, 200, {}), {
      detail: { summary: "Answers Claude Code's warm-up." },
    })
}
