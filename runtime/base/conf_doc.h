/* conf_doc.h - the schema as the page docs/config.md. */
#ifndef SD_BASE_CONF_DOC_H
#define SD_BASE_CONF_DOC_H

#include "base/buf.h"

/* Append the whole page.  `sdlua config --markdown` prints it; a spec fails
 * when the file in docs/ differs. */
void conf_markdown(struct buf *out);

#endif
