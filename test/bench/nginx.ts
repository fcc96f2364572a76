// nginx, twice: as a subject, a plain proxy without authentication; and as the upstream of requests.

import type { Subprocess } from 'bun'
import { join } from 'node:path'
import { freePort, startChild } from './children.ts'
import { packaged } from './packaged.ts'
import {
  fillIn,
  installed,
  type Missing,
  probe,
  type Running,
  type Subject,
  whenReady,
} from './subject.ts'

export function nginx(): Subject | Missing {
  return packaged({
    name: 'nginx',
    debianPackage: 'nginx-light',
    title(program) {
      const said = Bun.spawnSync([program, '-v']).stderr.toString()
      return `nginx ${/nginx\/(\S+)/.exec(said)?.[1] ?? '?'}, no authentication`
    },
    configuration: 'nginx.conf',
    values: ({ descriptors }) => ({ DESCRIPTORS: descriptors }),
    run,
  })
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
