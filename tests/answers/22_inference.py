def predict(units, batches, rounds, comm):
    outputs = []
    for number in range(rounds):
        here = number < len(batches)
        x = batches[number] if here else None
        for u in units:
            full = comm.all_gather(u.param, u.layout)
            if here:
                x = u.forward(full, x)
                u.forget()
            del full
        if here:
            outputs.append(x)
    return outputs
