// The files from which settings came. A gate that has none loads nothing of what watches them.

import type { Given } from '../config/given.ts'
import type { Listings } from '../config/read-values.ts'
import type { Key } from '../config/table.ts'
import { BY_PATH } from './named-files.ts'

/**
 * Where settings came from: the document, the files of secrets, and those that settings name. Those of
 * upstreams of which there are several stand by themselves.
 */
export function filesOf({
  document,
  given,
  listed,
}: {
  readonly document: string | undefined
  readonly given: ReadonlyMap<Key, Given>
  readonly listed: Pick<Listings, 'upstreams'>
}): string[] {
  const all = [given, ...listed.upstreams.map((each) => each.given)]
  const secrets = all.flatMap((each) =>
    [...each.values()].flatMap(({ written }) =>
      written && 'file' in written ? [written.file] : [],
    ),
  )
  const named = BY_PATH.flatMap((key) => given.get(key)?.text ?? [])
  return [...new Set([...(document === undefined ? [] : [document]), ...secrets, ...named])]
}
