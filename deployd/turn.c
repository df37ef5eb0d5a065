/* A step may look a program up and read a spec of some hundred KiB, so that a turn has a bound:
 * others are served between two of them. */
#include "deployd/turn.h"

#include "deployd/boot.h"
#include "deployd/operation_queue.h"
#include "deployd/reconcile.h"

enum { STEPS_PER_TURN = 128 };

bool turn_step(struct deployd *deployd)
{
    for (int steps = 0; steps < STEPS_PER_TURN; steps++) {
        reconcile_pump(deployd);
        if (reconcile_is_done(deployd) && !deployd->drain.is_begun && !deployd->is_stopping)
            boot_reconciled(deployd);
        if (!operations_step(deployd))
            return false;
    }
    return true;
}
