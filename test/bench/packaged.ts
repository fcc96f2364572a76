// Servers of the distribution as subjects: each is found where it was installed, and started with a
// configuration out of this folder.

import type { Subprocess } from 'bun'
import { statSync } from 'node:fs'
import { freePort } from './children.ts'
import {
  fillIn,
  firstToken,
  installed,
  type Missing,
  noHeaders,
  probe,
  type Setting,
  type Subject,
  whenReady,
} from './subject.ts'

export interface Packaged {
  readonly name: 'haproxy' | 'nginx'
  readonly debianPackage: string
  /** Asks the program for its version. */
  readonly title: (program: string) => string
  readonly configuration: string
  /** What is filled in, beside the two ports. */
  readonly values: (setting: Setting) => Readonly<Record<string, string | number>>
  readonly run: (program: string, folder: string, file: string) => Subprocess
}

export function packaged({
  name,
  debianPackage,
  title,
  configuration,
  values,
  run,
}: Packaged): Subject | Missing {
  const program = installed(name)
  if (program === null) return { name, why: `not installed (Debian: ${debianPackage})` }
  return {
    name,
    title: title(program),
    sizeBytes: statSync(program).size,
    headers: noHeaders,
    async start(setting) {
      const { folder, upstreamPort, credentials } = setting
      const port = await freePort()
      const file = await fillIn(configuration, folder, {
        PORT: port,
        UPSTREAM_PORT: upstreamPort,
        ...values(setting),
      })
      const passed = probe(firstToken(credentials.knownFile))
      return whenReady(() => run(program, folder, file), port, { passed })
    },
  }
}
