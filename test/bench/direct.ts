// No gate at all: what the load and the upstream cost and can do by themselves.

import { noHeaders, type Subject } from './subject.ts'

export const direct: Subject = {
  name: 'direct',
  title: 'direct connection',
  sizeBytes: 0,
  headers: noHeaders,
  start: ({ upstreamPort }) =>
    Promise.resolve({
      port: upstreamPort,
      pid: undefined,
      firstOkMs: 0,
      firstPassedMs: 0,
      end: () => Promise.resolve(),
    }),
}
