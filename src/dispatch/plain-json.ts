// Whether headers leave a body as it is: JSON in UTF-8, under no coding. Only the headers are asked;
// that the bytes are JSON is for the reader of the bytes to say. A coding would be another body behind
// ours, and under another charset the same bytes are other characters.

/** Longer than any client writes it; a longer one is not looked at. */
const MAX_LENGTH = 128

const JSON_TYPE = /^application\/json[ \t]*(?:;[ \t]*charset=(?:"utf-?8"|utf-?8)[ \t]*)?;?$/i

/** Of both values the runtime has taken off the blanks around them (RFC 9110 §5.5). */
export function isPlainJson(contentType: string | null, contentEncoding: string | null): boolean {
  if (contentEncoding !== null && !/^(?:identity)?$/i.test(contentEncoding)) return false
  if (contentType === null) return true
  return contentType.length <= MAX_LENGTH && JSON_TYPE.test(contentType)
}
