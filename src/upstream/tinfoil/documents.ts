// The upstream's public documents: HPKE keys and attestation bundles. Anybody may request them, so the gate
// requests each from the upstream once at a time, keeps it for a moment, and sends no key.

import { hash } from 'node:crypto'
import { type Decision, granted, refused } from '../../refusal.ts'
import type { Ask, Question } from '../../http1/ask.ts'
import type { PublicDocument, PublicDocuments } from '../documents.ts'
import { urlUnder } from '../../http1/destination.ts'

export interface DocumentsOptions {
  readonly ask: Ask
  readonly baseUrl: URL
  readonly attestationUrl: URL
}

/** After an enclave changes its key, clients may get the old one for this long. */
const TTL_MS = 5000
/** The number of kept documents, including those for strangers' POST bodies; with the next line, 16 MiB. */
const MAX_DOCUMENTS = 16
const MAX_DOCUMENT_BYTES = 1_048_576
/** For headers and body together. */
const TIMEOUT_MS = 15_000

type DocumentRequest = Pick<Question, 'method' | 'url' | 'headers' | 'body'>

export function documents(options: DocumentsOptions): PublicDocuments {
  const { ask, baseUrl, attestationUrl } = options
  const kept = new Map<
    string,
    { readonly document: Decision<PublicDocument>; readonly until: number }
  >()
  const flights = new Map<string, Promise<Decision<PublicDocument>>>()

  const read = async (question: DocumentRequest): Promise<Decision<PublicDocument>> => {
    const reply = await ask({
      ...question,
      timeoutMs: TIMEOUT_MS,
      maxBytes: MAX_DOCUMENT_BYTES,
      reads: isDocument,
    })
    if (!reply.ok) return refused(CODES[reply.kind], { reason: reply.reason })
    const { status, headers, body } = reply
    if (!isDocument(status)) {
      return refused('upstream_invalid', { reason: `upstream status ${status}` })
    }
    return granted({ status, contentType: headers['content-type'], body })
  }
  const fetchOnce = (
    name: string,
    now: number,
    question: DocumentRequest,
  ): Promise<Decision<PublicDocument>> => {
    const known = kept.get(name)
    if (known && known.until > now) return Promise.resolve(known.document)
    const under = flights.get(name)
    if (under) return under
    const flight = read(question).then((document) => {
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
        url: urlUnder(baseUrl, '/.well-known/hpke-keys'),
        headers: { accept: 'application/ohttp-keys' },
      }),
    attestation(body, now) {
      const name = body ? `attestation ${hash('sha256', body, 'base64')}` : 'attestation'
      return fetchOnce(name, now, {
        method: body ? 'POST' : 'GET',
        url: urlUnder(attestationUrl, '/attestation'),
        headers: {
          accept: 'application/json',
          ...(body ? { 'content-type': 'application/json' } : {}),
        },
        ...(body && { body }),
      })
    },
  }
}

const isDocument = (status: number): boolean =>
  status >= 200 && status <= 599 && !(status >= 300 && status < 400)

const CODES = {
  unreachable: 'upstream_unavailable',
  late: 'upstream_timeout',
  'too large': 'upstream_invalid',
  unreadable: 'upstream_invalid',
} as const
