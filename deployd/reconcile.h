#ifndef SOLO_DEPLOYD_RECONCILE_H
#define SOLO_DEPLOYD_RECONCILE_H

#include "deployd/deployd.h"

/* Wanted against held: what is due is found by common/plan and carried out by ordinary operations,
 * at most RECONCILE_PARALLEL at a time. Runs when deployd has come back, when a supervisor has, and
 * after a request whose outcome was left open. */
enum { RECONCILE_LOOK_MS = 30 * 1000 };

/* Reads the whole of `live` into the catalog. data_loss when a row is missing or broken. */
enum status reconcile_load_wanted(struct deployd *deployd);

/* Whether deployd itself may start this wanted service: in a new run the services of the run before
 * are recoveryd's, with recovery_enabled = false nobody's. */
bool reconcile_may_start(const struct deployd *deployd, const struct service *service);

/* Finds everything that is due, or what is due of one tenant; the turn carries it out. */
void reconcile_all(struct deployd *deployd);
void reconcile_tenant(struct deployd *deployd, struct tenant *tenant);
/* Once eventd has dealt with everything that was sent to it, with `live` read again: many causes,
 * one pass. */
void reconcile_soon(struct deployd *deployd);

/* A net under everything that has to remember to look again: what is wanted, and what nobody is at,
 * is due. Over memory only; runs by itself every RECONCILE_LOOK_MS. */
void reconcile_look(struct deployd *deployd);

/* Begins what is due, up to the bound. For turn.c. */
void reconcile_pump(struct deployd *deployd);
/* Nothing is due and nothing that it began still runs. */
bool reconcile_is_done(const struct deployd *deployd);
void reconcile_init(struct deployd *deployd);
void reconcile_close(struct deployd *deployd);

#endif
