// nginx, twice: as a subject, a plain proxy without authentication; and as the upstream of requests.

import type { Subprocess } from 'bun'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, startChild } from './children.ts'
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

export function nginx(): Subject | Missing {
  const program = installed('nginx')
  if (program === null) return { name: 'nginx', why: 'not installed (Debian: nginx-light)' }
  const said = Bun.spawnSync([program, '-v']).stderr.toString()
  return {
    name: 'nginx',
    title: `nginx ${/nginx\/(\S+)/.exec(said)?.[1] ?? '?'}, no authentication`,
    sizeBytes: statSync(program).size,
    headers: noHeaders,
    async start({ folder, upstreamPort, credentials, descriptors }: Setting): Promise<Running> {
      const port = await freePort()
      const file = await fillIn('nginx.conf', folder, {
        PORT: port,
        UPSTREAM_PORT: upstreamPort,
        DESCRIPTORS: descriptors,
      })
      const start = () => run(program, folder, file)
      return whenReady(start, port, { passed: probe(firstToken(credentials.knownFile)) })
    },
  }
}

export async function requestUpstream(folder: string, descriptors: number): Promise<Running> {
  const program = installed('nginx')
  if (program === null) throw new Error('the upstream of requests is nginx: install nginx-light')
  const port = await freePort()
  const file = await fillIn('upstream.conf', folder, { PORT: port, DESCRIPTORS: descriptors })
  return whenReady(() => run(program, folder, file), port, { passed: probe('none') })
}

function run(program: string, folder: string, file: string): Subprocess {
  return startChild([program, '-p', `${folder}/`, '-c', file], {
    errorFile: join(folder, 'stderr'),
  })
}
