// The files from which settings came. A gate without any does not load the code that watches them.

import type { Given } from '../config/given.ts'
import type { Listings } from '../config/read-values.ts'
import type { Key } from '../config/table.ts'
import { BY_PATH } from './named-files.ts'

/**
 * The files from which settings came: the document, secret files, and files that settings name. Secret
 * files of several upstreams of one kind are listed separately.
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
