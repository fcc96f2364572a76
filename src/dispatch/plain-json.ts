// Whether headers leave a body as it is: JSON in UTF-8, under no coding. Only the headers are asked;
// that the bytes are JSON is for who reads them to say.

/**
 * Whether the upstream will read those bytes as they are. A coding would be another body behind
 * ours, and under another charset the same bytes are other characters.
 */
export function isPlainJson(contentType: string | null, contentEncoding: string | null): boolean {
  if (contentEncoding !== null && !/^\s*(identity)?\s*$/i.test(contentEncoding)) return false
  return contentType === null || JSON_TYPE.test(contentType)
}

const JSON_TYPE = /^\s*application\/json\s*(;\s*charset\s*=\s*("utf-?8"|utf-?8)\s*)?;?\s*$/i
