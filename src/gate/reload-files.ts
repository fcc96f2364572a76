// Stamps of the files from which settings came. A stamp changes if the file is written, replaced, or
// reached through another symbolic link, as Kubernetes does with all files of a volume at once.

import { statSync } from 'node:fs'

export type Stamps = ReadonlyMap<string, string>

export const ABSENT = 'none'

export const stampsOf = (files: readonly string[]): Stamps =>
  new Map(files.map((path) => [path, stampOf(path)]))

/** The stamp of a path's file, after all symbolic links. */
function stampOf(path: string): string {
  try {
    const { dev, ino, mtimeMs, ctimeMs, size } = statSync(path)
    return [dev, ino, mtimeMs, ctimeMs, size].join(':')
  } catch {
    return ABSENT
  }
}

/** Whether each file in `earlier` has the same stamp in `later`. */
export const isUnchanged = (earlier: Stamps, later: Stamps): boolean =>
  [...earlier].every(([path, stamp]) => later.get(path) === stamp)
