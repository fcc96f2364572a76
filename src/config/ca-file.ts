// UPSTREAM_CA_FILE: certificates that are trusted besides the built-in ones. One unreadable certificate
// in the file stops the start.

import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Mistake } from './kinds.ts'

export interface CaFile {
  readonly ok: true
  /** In PEM, one certificate each. */
  readonly certificates: readonly string[]
  readonly warnings: readonly string[]
}

const BLOCK =
  /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]*-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g

export function readCaFile(
  path: string | undefined,
  nowMs: number,
): CaFile | { readonly ok: false; readonly mistakes: readonly Mistake[] } {
  if (path === undefined) return { ok: true, certificates: [], warnings: [] }
  const mistake = (message: string, hint: string) =>
    ({ ok: false, mistakes: [{ setting: 'UPSTREAM_CA_FILE', message, hint }] }) as const
  let text: string
  try {
    text = readFileSync(path, 'latin1')
  } catch {
    return mistake('names a file that cannot be read', 'check path and permissions')
  }
  const certificates = text.match(BLOCK) ?? []
  const begun = text.match(/-----BEGIN [A-Z0-9 ]*CERTIFICATE-----/g) ?? []
  if (certificates.length === 0 && begun.length === 0) {
    return mistake('holds no certificate in PEM', 'convert DER with: openssl x509 -inform der')
  }
  const warnings: string[] = []
  for (const [at, pem] of begun.entries()) {
    const read = certificates.length === begun.length ? parsed(certificates[at] ?? '') : undefined
    if (!read) {
      const which = `certificate ${at + 1} of ${begun.length}`
      return mistake(
        `has a ${which} that cannot be read`,
        `openssl x509 shows what is wrong with ${pem}`,
      )
    }
    if (Date.parse(read.validTo) < nowMs) {
      warnings.push(`UPSTREAM_CA_FILE: certificate ${at + 1} has expired`)
    }
  }
  return { ok: true, certificates, warnings }
}

function parsed(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem)
  } catch {
    return undefined
  }
}
