// HAProxy with `jwt_verify` of ES256 on each request, and a stick-table's limit for each subject.

import { join } from 'node:path'
import { startChild } from './children.ts'
import { AUDIENCE } from './credentials.ts'
import { packaged } from './packaged.ts'
import type { Missing, Subject } from './subject.ts'

export function haproxy(): Subject | Missing {
  return packaged({
    name: 'haproxy',
    debianPackage: 'haproxy',
    title(program) {
      const said = Bun.spawnSync([program, '-v']).stdout.toString()
      return `HAProxy ${/version (\d+\.\d+\.\d+)/.exec(said)?.[1] ?? '?'}, jwt_verify + stick-table`
    },
    configuration: 'haproxy.cfg',
    values: ({ credentials, descriptors }) => ({
      // Two descriptors each, and some of its own.
      MAX_CONNECTIONS: Math.floor((descriptors - 100) / 2),
      ISSUER: credentials.issuer,
      AUDIENCE,
      PUBLIC_KEY: credentials.publicKeyFile,
    }),
    run: (program, folder, file) =>
      startChild([program, '-db', '-f', file], {
        logFile: join(folder, 'access.log'),
        errorFile: join(folder, 'stderr'),
      }),
  })
}
