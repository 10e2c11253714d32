from dataclasses import dataclass
from quarterdeck import Context, Worker

worker = Worker("greeter", slots=4)
@dataclass
class Person:
    name: str
@worker.step("greet")
async def greet(ctx: Context, person: Person) -> dict[str, str]:
    ctx.progress(0.5, "thinking of something nice")
    return {"greeting": f"Good to see you, {person.name}!"}
worker.serve()
