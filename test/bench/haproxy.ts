// HAProxy with `jwt_verify` of ES256 on each request, and a stick-table's limit for each subject.

import { statSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, startChild } from './children.ts'
import { AUDIENCE } from './credentials.ts'
import {
  fillIn,
  firstToken,
  installed,
  type Missing,
  noHeaders,
  probe,
  type Running,
  type Setting,
  type Subject,
  whenReady,
} from './subject.ts'

export function haproxy(): Subject | Missing {
  const program = installed('haproxy')
  if (program === null) return { name: 'haproxy', why: 'not installed (Debian: haproxy)' }
  const said = Bun.spawnSync([program, '-v']).stdout.toString()
  return {
    name: 'haproxy',
    title: `HAProxy ${/version (\d+\.\d+\.\d+)/.exec(said)?.[1] ?? '?'}, jwt_verify + stick-table`,
    sizeBytes: statSync(program).size,
    headers: noHeaders,
    async start({ folder, upstreamPort, credentials, descriptors }: Setting): Promise<Running> {
      const port = await freePort()
      const file = await fillIn('haproxy.cfg', folder, {
        PORT: port,
        UPSTREAM_PORT: upstreamPort,
        // Two descriptors each, and some of its own.
        MAX_CONNECTIONS: Math.floor((descriptors - 100) / 2),
        ISSUER: credentials.issuer,
        AUDIENCE,
        PUBLIC_KEY: credentials.publicKeyFile,
      })
      const start = () =>
        startChild([program, '-db', '-f', file], {
          logFile: join(folder, 'access.log'),
          errorFile: join(folder, 'stderr'),
        })
      return whenReady(start, port, { passed: probe(firstToken(credentials.knownFile)) })
    },
  }
}
