// The upstream's public documents: HPKE keys and attestation bundles. Anybody may ask for them, so
// each is asked of the upstream once at a time and kept for a moment, and no key of ours goes along.

import { hash } from 'node:crypto'
import { type Decision, granted, refused } from '../refusal.ts'
import { placeUnder } from './places.ts'
import type { Call, Incoming, Timeouts, Transport } from './transport.ts'

export interface Document {
  readonly status: number
  readonly contentType: string | undefined
  readonly body: Uint8Array
}

export interface Documents {
  hpkeKeys(now: number): Promise<Decision<Document>>
  /** `body` is the JSON of a POST, undefined for a GET. */
  attestation(body: Uint8Array | undefined, now: number): Promise<Decision<Document>>
}

export interface DocumentsOptions {
  readonly transport: Transport
  readonly timeouts: Timeouts
  readonly baseUrl: URL
  readonly attestationUrl: URL
}

/** An enclave that has changed its key is met with the old one for no longer than this. */
const TTL_MS = 5000
/** Kept at once, strangers' distinct POST bodies among them; times the next line, 16 MiB. */
const MAX_DOCUMENTS = 16
const MAX_DOCUMENT_BYTES = 1_048_576
/** For headers and body together. */
const TIMEOUT_MS = 15_000

export function documents(options: DocumentsOptions): Documents {
  const { transport, timeouts, baseUrl, attestationUrl } = options
  const kept = new Map<string, { readonly document: Decision<Document>; readonly until: number }>()
  const flights = new Map<string, Promise<Decision<Document>>>()

  const ask = async (call: Call): Promise<Decision<Document>> => {
    const flight = transport.send(call, timeouts)
    const timer = setTimeout(() => flight.cancel(), TIMEOUT_MS)
    try {
      const head = await flight.head
      if (!head.ok) {
        const timedOut = head.kind !== 'unreachable' && head.kind !== 'unanswered'
        return refused(timedOut ? 'upstream_timeout' : 'upstream_unavailable', {
          reason: head.reason,
        })
      }
      const { status, headers, body: incoming } = head
      if (status < 200 || (status >= 300 && status < 400) || status > 599) {
        return refused('upstream_invalid', { reason: `upstream status ${status}` })
      }
      const body = await readBounded(incoming)
      if (!body) return refused('upstream_invalid', { reason: 'document too large or cut off' })
      return granted({ status, contentType: headers['content-type'], body })
    } finally {
      clearTimeout(timer)
      flight.cancel()
    }
  }
  const fetchOnce = (name: string, now: number, call: Call): Promise<Decision<Document>> => {
    const known = kept.get(name)
    if (known && known.until > now) return Promise.resolve(known.document)
    const under = flights.get(name)
    if (under) return under
    const flight = ask(call).then((document) => {
      flights.delete(name)
      if (document.ok && document.value.status === 200) {
        const now = performance.now()
        for (const [other, { until }] of kept) if (until <= now) kept.delete(other)
        if (kept.size < MAX_DOCUMENTS) kept.set(name, { document, until: now + TTL_MS })
      }
      return document
    })
    flights.set(name, flight)
    return flight
  }

  return {
    hpkeKeys: (now) =>
      fetchOnce('hpke-keys', now, {
        method: 'GET',
        to: placeUnder(baseUrl, '/.well-known/hpke-keys'),
        headers: { accept: 'application/ohttp-keys' },
        body: undefined,
      }),
    attestation(body, now) {
      const name = body ? `attestation ${hash('sha256', body, 'base64')}` : 'attestation'
      return fetchOnce(name, now, {
        method: body ? 'POST' : 'GET',
        to: placeUnder(attestationUrl, '/attestation'),
        headers: {
          accept: 'application/json',
          ...(body ? { 'content-type': 'application/json' } : {}),
        },
        body,
      })
    },
  }
}

function readBounded(incoming: Incoming): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    const chunks: Uint8Array[] = []
    let bytes = 0
    incoming.listen({
      onData(chunk) {
        bytes += chunk.byteLength
        if (bytes > MAX_DOCUMENT_BYTES) resolve(undefined)
        else chunks.push(chunk)
      },
      onEnd: (how) => resolve(how === 'complete' ? Buffer.concat(chunks) : undefined),
    })
  })
}
