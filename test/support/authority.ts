// A certificate authority of a test's own, made with openssl, and what it signs.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Authority {
  /** Its certificate, in PEM. */
  readonly file: string
  readonly folder: string
  /** For these names and addresses. */
  issue(...names: readonly string[]): { readonly cert: string; readonly key: string }
  close(): void
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

export function authority(name = 'test'): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'postern-ca-'))
  const at = (file: string): string => join(folder, file)
  const openssl = (...args: readonly string[]): void => {
    const { status, stderr } = spawnSync('openssl', args, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`)
  }
  openssl(
    'req',
    '-x509',
    ...KEY,
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.pem'),
    '-days',
    '2',
    '-subj',
    `/CN=${name}`,
  )
  let issued = 0
  return {
    file: at('ca.pem'),
    folder,
    issue(...names) {
      issued += 1
      const [key, request, cert] = [`${issued}.key`, `${issued}.csr`, `${issued}.pem`].map(at) as [
        string,
        string,
        string,
      ]
      const alternatives = names.map((each) =>
        /^[\d.]+$/.test(each) ? `IP:${each}` : `DNS:${each}`,
      )
      writeFileSync(at('ext'), `subjectAltName=${alternatives.join(',')}`)
      openssl('req', ...KEY, '-keyout', key, '-out', request, '-subj', `/CN=${names[0]}`)
      openssl(
        'x509',
        '-req',
        '-in',
        request,
        '-CA',
        at('ca.pem'),
        '-CAkey',
        at('ca.key'),
        '-CAcreateserial',
        '-out',
        cert,
        '-days',
        '2',
        '-extfile',
        at('ext'),
      )
      return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  }
}
