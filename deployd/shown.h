#ifndef SOLO_DEPLOYD_SHOWN_H
#define SOLO_DEPLOYD_SHOWN_H

#include "deployd/catalog.h"

/* How services are shown to people: as they are, what of them is being built, and what is tried
 * again by itself (retry.h). */

/* Exists, or is only being built for its first deploy yet; false for NULL. */
bool service_is_shown(const struct service *service);
enum service_state service_state_shown(const struct service *service);
/* Its row, as catalog_row_write has it, but for these. */
void service_show(const struct service *service, struct buffer *buffer);

#endif
