-- A title or another short text: all that was written, with a slash between, each once, sorted.
--
--   B | C          ->  B/C
--   C | B | C      ->  B/C
--   B/C | D        ->  B/C/D
--   (deleted) | C  ->  C
--
-- HANDLER LOAD text "$(cat text.lua)"
-- POLICY SET 'wiki:*' handler text

function merge(key, versions)
  local texts, list = {}, {}
  for _, version in ipairs(versions) do
    for text in (version.value or ''):gmatch('[^/]+') do texts[text] = true end
  end
  for text in pairs(texts) do list[#list + 1] = text end
  return table.concat(list, '/')
end
