#ifndef SOLO_SOLOCTL_PAGE_H
#define SOLO_SOLOCTL_PAGE_H

#include "common/spec/spec.h"

/* For `describe`: what is known, a line each. */

void page_label(const char *name);
/* "-" for an empty text. */
void page_line(const char *name, const char *text);

/* What the spec says. Its limits stand beside their process where there is one: `shows_limits` is
 * for when there is none. */
void page_spec(const struct spec *spec, bool shows_limits);

#endif
