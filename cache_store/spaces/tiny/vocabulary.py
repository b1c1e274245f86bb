"""What people call the procedural kinds of sound: our own words, one entry a kind.

An entry has four lists, separated by "|", items by ";":
things (what sounds, with its article), doings (gerund/verb, after a thing), tags (what else one
might call it, loosely) and whole phrases that fit neither. Singular and mass nouns only in things,
so that verbs agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_ENTRIES = """
rain: rain; heavy rain; light rain; a downpour; a rain shower; drizzle; steady rain; rainfall; a rainstorm
 | falling/falls; pouring/pours; pattering/patters; drumming on the roof/drums on the roof; pouring down/pours down; hitting the window/hits the window; splashing on the pavement/splashes on the pavement
 | rain; weather; water; nature; raindrops; rainy day; storm
 | it is raining hard; raindrops falling on leaves; raindrops on a tin roof; it rains outside; raining

wind: wind; a strong wind; a gust of wind; the wind; a cold wind; a gale; a breeze
 | blowing/blows; howling/howls; gusting/gusts; whooshing/whooshes; rushing through the trees/rushes through the trees; whistling around the house/whistles around the house
 | wind; weather; nature; air; gusts; windy; storm
 | windy weather; gusts of wind on a hill; wind noise in a microphone

waves: the sea; the ocean; a wave; surf; sea water; the tide; an ocean wave
 | crashing on the shore/crashes on the shore; rolling in/rolls in; breaking on the beach/breaks on the beach; washing ashore/washes ashore; lapping/laps; surging/surges; splashing against rocks/splashes against rocks
 | waves; sea; ocean; beach; water; nature; surf; sea waves; shore; coast
 | sea waves; ocean waves crashing; waves breaking on a beach; waves at the seaside; waves lapping against a boat

thunder: thunder; a thunderclap; a clap of thunder; a thunderstorm; distant thunder; a thunder storm
 | rumbling/rumbles; rolling/rolls; booming/booms; cracking/cracks; rolling across the sky/rolls across the sky; roaring/roars
 | thunder; storm; weather; nature; lightning; rumble; boom
 | thunder and lightning; a bolt of lightning strikes nearby; a stormy sky

stream: a stream; a brook; a creek; a small river; running water; a fountain; a water stream
 | flowing/flows; gurgling/gurgles; babbling/babbles; trickling/trickles; running over stones/runs over stones; bubbling/bubbles
 | stream; water; river; nature; brook; creek
 | water flowing in a creek; a babbling brook in the woods

water drops: water; a dripping tap; a leaking faucet; a water drop; a drop of water; a leaky pipe; a drip
 | dripping/drips; dropping/drops; plopping/plops; dripping into a sink/drips into a sink; falling into a bucket/falls into a bucket; dripping in a cave/drips in a cave
 | water drops; dripping; drip; water; drops; tap; faucet; leak; droplets
 | pouring water drop by drop; drops falling into a puddle; drip drip drip; water droplets

fire: fire; a fire; a campfire; a bonfire; burning wood; a fireplace; a log fire; a wood fire
 | crackling/crackles; burning/burns; popping/pops; snapping and popping/snaps and pops; blazing/blazes; crackling in the hearth/crackles in the hearth
 | fire; crackling; crackling fire; burning; flames; nature; wood; campfire
 | logs burning; flames crackling; twigs snapping in flames; dry branches burning

dog: a dog; a puppy; a hound; a big dog; a small dog; a guard dog; a terrier; a pet dog; the dog
 | barking/barks; yapping/yaps; woofing/woofs; growling and barking/growls and barks; barking at strangers/barks at strangers; yelping/yelps; howling and barking/howls and barks
 | dog; animal; pet; bark; woof; canine; barking; domestic animal
 | dogs barking; a pack of dogs; two dogs bark at each other; woof woof; bow-wow

cat: a cat; a kitten; a kitty; a hungry cat; a house cat; a tomcat; the cat
 | meowing/meows; mewing/mews; miaowing/miaows; crying for food/cries for food; yowling/yowls; caterwauling/caterwauls
 | cat; animal; pet; meow; feline; kitten; domestic animal
 | cats meowing; meow meow; a cat's meow

bird: a bird; a songbird; a sparrow; a small bird; a canary; a robin; a finch; a nightingale; birdsong
 | chirping/chirps; singing/sings; tweeting/tweets; twittering/twitters; trilling/trills; warbling/warbles; singing at dawn/sings at dawn
 | bird; animal; chirp; tweet; birdsong; nature; wildlife; birds; wild animals
 | birds chirping; birds sing in the trees; bird call; birds twittering in a garden; bird vocalization

rooster: a rooster; a cock; a cockerel; a farm rooster; the rooster
 | crowing/crows; crowing at dawn/crows at dawn; crowing loudly on a farm/crows loudly on a farm; greeting the morning/greets the morning
 | rooster; animal; farm; crowing; fowl; poultry; cock-a-doodle-doo; bird; farm animal
 | cock-a-doodle-doo; a rooster's crow; a crowing cock on the farmyard

crow: a crow; a raven; a black crow; a rook; a jackdaw
 | cawing/caws; croaking harshly/croaks harshly; calling hoarsely/calls hoarsely; cawing in a tree/caws in a tree; squawking/squawks
 | crow; bird; animal; caw; raven; wildlife; wild animals
 | crows cawing; caw caw; a flock of crows; a crow's caw

frog: a frog; a toad; a bullfrog; a tree frog; a pond frog
 | croaking/croaks; ribbiting/ribbits; calling from a pond/calls from a pond; croaking at night/croaks at night
 | frog; animal; croak; amphibian; pond; wildlife; ribbit
 | frogs croaking in a swamp; ribbit ribbit; a chorus of toads

cricket: a cricket; a cicada; a grasshopper; an insect; a field cricket; a night insect
 | chirping/chirps; stridulating/stridulates; chirring/chirrs; chirping in the grass/chirps in the grass; trilling at night/trills at night
 | cricket; insect; insects; animal; night; nature; chirping
 | crickets at night; crickets chirping in a field; cicadas on a summer evening; insects in the grass

cow: a cow; a bull; a calf; cattle; a dairy cow; an ox
 | mooing/moos; lowing/lows; bellowing/bellows; mooing in a field/moos in a field
 | cow; animal; farm; moo; cattle; farm animal; livestock; bovine
 | cows mooing in a barn; moo; a herd of cows

fly: a fly; a bee; a mosquito; a bumblebee; a wasp; a hornet; a swarm of bees
 | buzzing/buzzes; buzzing around/buzzes around; humming past the ear/hums past the ear; flying by/flies by; droning/drones
 | fly; insect; buzz; bee; animal; insects; buzzing
 | bees buzzing around a hive; flies buzzing; the buzz of an insect

owl: an owl; a barn owl; a night owl; a tawny owl
 | hooting/hoots; calling at night/calls at night; hooting in the woods/hoots in the woods
 | owl; bird; animal; hoot; night; wildlife
 | owls hooting; hoo hoo

sheep: a sheep; a lamb; a goat; a ewe; a billy goat
 | bleating/bleats; baaing/baas; bleating in a meadow/bleats in a meadow
 | sheep; animal; farm; bleat; goat; livestock
 | a flock of sheep; baa; sheep bleating

woodpecker: a woodpecker; a pecking bird
 | drumming/drums; pecking/pecks; hammering on a tree/hammers on a tree; pecking at wood/pecks at wood
 | woodpecker; bird; animal; pecking; drumming; tree
 | woodpeckers in a forest; a beak hammering on a trunk

baby: a baby; an infant; a newborn; a toddler; a crying baby; a small child; a baby boy; a baby girl
 | crying/cries; wailing/wails; bawling/bawls; screaming/screams; sobbing/sobs; crying in its crib/cries in its crib; weeping/weeps
 | baby; crying; infant; child; human; cry; baby cry; crying baby; people
 | a crying infant; the wail of a newborn; babies crying; a fussy child

sneeze: a person; a man; a woman; someone; a child; a sick person
 | sneezing/sneezes; sneezing loudly/sneezes loudly; letting out a sneeze/lets out a sneeze; sneezing twice/sneezes twice; going achoo/goes achoo
 | sneeze; human; achoo; sneezing; allergy; cold; nose
 | a sneeze; achoo; a loud sneeze; a fit of sneezing; sneezes

cough: a person; a man; a woman; someone; a smoker; a sick patient
 | coughing/coughs; clearing the throat/clears the throat; coughing hard/coughs hard; hacking and coughing/hacks and coughs
 | cough; human; coughing; throat; illness
 | a cough; a dry cough; a fit of coughing; a hoarse cough

footsteps: a person; someone; a man; a woman; a walker; a runner; heels
 | walking/walks; walking on gravel/walks on gravel; stepping down a corridor/steps down a corridor; running up the stairs/runs up the stairs; pacing/paces; marching/marches; strolling on a wooden floor/strolls on a wooden floor
 | footsteps; walking; steps; human; shoes; footstep; feet
 | footsteps; footsteps on gravel; steps in a hallway; shoes on a hard floor; the tread of boots; approaching footsteps; people walking

applause: an audience; a crowd; the audience; the public
 | clapping/claps; applauding/applauds; clapping hands/claps hands; giving a round of applause/gives a round of applause; cheering and clapping/cheers and claps
 | applause; clapping; crowd; audience; human; hands; ovation
 | applause; people clapping; hands clapping; a standing ovation; a round of applause in a theatre

heartbeat: a heart; a human heart; a pulse; a heartbeat; the heart
 | beating/beats; thumping/thumps; pounding/pounds; pulsing/pulses; beating in the chest/beats in the chest
 | heartbeat; heart; pulse; human; body; stethoscope; medical
 | a heartbeat; heart beats through a stethoscope; lub-dub

whistle: a person; a man; someone; a boy; a worker; a referee
 | whistling/whistles; whistling a tune/whistles a tune; whistling a melody/whistles a melody; whistling cheerfully/whistles cheerfully
 | whistle; whistling; human; tune; melody
 | a whistle; a wolf whistle; a whistled song

snore: a person; a man; someone; a sleeper; a sleeping man; grandfather
 | snoring/snores; snoring in bed/snores in bed; breathing heavily in sleep/breathes heavily in sleep; snoring loudly/snores loudly
 | snore; snoring; sleep; human; breathing; bedroom
 | snores; a loud snore; heavy breathing

laughter: a person; a man; a woman; a child; a girl; someone; a group of friends
 | laughing/laughs; giggling/giggles; chuckling/chuckles; laughing out loud/laughs out loud
 | laughter; laugh; human; funny; joke; people
 | laughter; a burst of laughter; haha; people laughing

engine: an engine; a car engine; a motor; a truck; a diesel engine; a car; a bus; a tractor; a lorry; a vehicle; a generator; a boat engine
 | idling/idles; running/runs; rumbling/rumbles; humming/hums; driving by/drives by; starting up/starts up; chugging/chugs
 | engine; motor; vehicle; car; machine; truck; traffic; idling
 | engine noise; a running motor; an idling diesel truck; traffic on a road

motorcycle: a motorcycle; a motorbike; a scooter; a moped; a dirt bike; a race car
 | revving/revs; accelerating/accelerates; speeding away/speeds away; racing past/races past; roaring past/roars past
 | motorcycle; engine; vehicle; motor; bike; revving
 | a revving engine; the roar of a motorbike

helicopter: a helicopter; a chopper; a military helicopter; a rescue helicopter; a rotor
 | flying overhead/flies overhead; hovering/hovers; passing over/passes over; landing/lands; chopping the air/chops the air; taking off/takes off
 | helicopter; aircraft; rotor; chopper; vehicle; blades; aviation
 | rotor blades; whirring helicopter blades; a helicopter in the sky

train: a train; a railway train; a freight train; a subway train; a tram; a steam train; a railroad car
 | passing by/passes by; rattling over the tracks/rattles over the tracks; clattering/clatters; rolling over the rails/rolls over the rails; clacking along/clacks along; travelling/travels
 | train; railway; vehicle; rails; tracks; railroad; transport; clickety-clack
 | wheels on rails; riding on a train; a train on the tracks

siren: a siren; an ambulance; a police car; a fire engine; an emergency vehicle; a police siren; an ambulance siren; a fire truck
 | wailing/wails; blaring/blares; sounding its siren/sounds its siren; rushing by with its siren on/rushes by with its siren on; howling/howls; screaming past/screams past
 | siren; emergency; ambulance; police; alarm; emergency vehicle; fire brigade
 | sirens in the city; a siren going up and down; police sirens; emergency sirens

horn: a car horn; a horn; a vehicle horn; a car; a truck horn; a taxi; an angry driver
 | honking/honks; beeping its horn/beeps its horn; tooting/toots; honking in traffic/honks in traffic; hooting its horn/hoots its horn; blowing the horn/blows the horn
 | car horn; honk; horn; vehicle; traffic; honking; toot
 | cars honking; honk honk; a traffic jam with horns

airplane: an airplane; a plane; a jet; an aircraft; a jet plane; an airliner; a jet engine
 | flying by/flies by; taking off/takes off; passing overhead/passes overhead; landing/lands; roaring overhead/roars overhead; flying over/flies over
 | airplane; aircraft; jet; plane; flight; aviation; airport; jet engine
 | the roar of a jet; airplanes at an airport; a fighter jet

chainsaw: a chainsaw; a power saw; a chain saw; a petrol saw; a lumberjack with a chainsaw; a hedge trimmer; a lawn mower
 | cutting a tree/cuts a tree; revving/revs; running/runs; buzzing through wood/buzzes through wood; sawing a log/saws a log; roaring/roars
 | chainsaw; power tool; tool; motor; logging; saw; machine; lumber
 | chainsaw noise in a forest; felling a tree with a chainsaw; chainsaws

drill: a drill; a power drill; an electric drill; a hammer drill; a cordless screwdriver; a dentist's drill
 | drilling/drills; whirring/whirs; drilling into a wall/drills into a wall; boring a hole/bores a hole
 | drill; power tool; tool; machine; construction; drilling
 | drilling a hole; a construction site with a drill

vacuum cleaner: a vacuum cleaner; a hoover; a vacuum; a hair dryer; a fan; an air conditioner; a blower
 | running/runs; humming/hums; sucking up dust/sucks up dust; cleaning the carpet/cleans the carpet; whirring/whirs; blowing air/blows air
 | vacuum cleaner; appliance; hoover; household; hiss; machine; vacuum; cleaning
 | vacuuming; hoovering the carpet; white noise; steady hiss; vacuum cleaning

saw: a saw; a hand saw; a carpenter; a handsaw; a woodworker
 | sawing/saws; sawing wood/saws wood; cutting a plank/cuts a plank; rasping/rasps; filing and sawing/files and saws
 | saw; sawing; tool; wood; carpentry; workshop; handsaw
 | sawing wood by hand; a plank being sawn; cutting wood with a hand saw; sandpaper on wood

clock: a clock; a wall clock; an old clock; a watch; a grandfather clock; a pocket watch; a metronome; a stopwatch
 | ticking/ticks; ticking away/ticks away; tick-tocking/tick-tocks; ticking in a quiet room/ticks in a quiet room; counting the seconds/counts the seconds
 | clock; ticking; tick; tick-tock; clock tick; time; watch; mechanism
 | clock ticking; tick tock; the tick of a clock; clock tick

alarm: an alarm; an alarm clock; a smoke detector; a fire alarm; an electronic alarm; a digital alarm; a car alarm; a timer; a microwave
 | beeping/beeps; going off/goes off; sounding/sounds; bleeping/bleeps; beeping rapidly/beeps rapidly
 | alarm; beep; beeping; alarm clock; warning; electronic; bleep; signal
 | beep beep beep; electronic beeps; the beep of a timer; a truck backing up with beeps

phone: a phone; a telephone; an old telephone; an office phone; a landline phone; a cell phone; a mobile
 | ringing/rings; ringing off the hook/rings off the hook; ringing in an office/rings in an office; trilling/trills
 | phone; telephone; ring; ringing; ringtone; call; telephone bell
 | a telephone bell ringing; a ringtone; an incoming call; phones ringing

knock: someone; a visitor; a person; a fist; a guest
 | knocking/knocks; knocking on a door/knocks on a door; rapping on wood/raps on wood; knocking at the door/knocks at the door; banging on the door/bangs on the door; tapping on a table/taps on a table
 | knock; door; knocking; door knock; tap; rap; wood
 | a knock at the door; knock knock; door wood knock; knocks on wood

typing: a keyboard; a typist; someone; a person; a secretary; a programmer; a typewriter
 | typing/types; typing on a keyboard/types on a keyboard; clacking/clacks; pressing keys/presses keys; typing fast on a computer/types fast on a computer
 | typing; keyboard; keyboard typing; computer; keys; office; clicking; typewriter
 | keyboard typing; computer keys; typing on a laptop; mouse clicks and keys

glass: glass; a window; a bottle; a wine glass; a glass pane; a glass; a mirror; a plate
 | breaking/breaks; shattering/shatters; smashing/smashes; crashing to the floor/crashes to the floor; splintering/splinters; bursting into pieces/bursts into pieces
 | glass; breaking; shatter; smash; crash; shards; glass breaking; broken
 | broken glass; glass shards tinkling; smashing dishes; dishes and glasses clinking

bell: a bell; a church bell; a tower bell; a school bell; a ship's bell; a big bell; church bells
 | ringing/rings; tolling/tolls; chiming/chimes; pealing/peals; striking the hour/strikes the hour; clanging/clangs
 | bell; church bell; church bells; chime; ring; metal; toll
 | bells ringing in a church tower; ding dong; the chime of a bell

gong: a gong; a tam-tam; a big cymbal; a singing bowl; a temple gong
 | resounding/resounds; being struck/is struck; ringing out/rings out; vibrating/vibrates
 | gong; percussion; metal; instrument; music
 | striking a gong; a deep metallic sound

drum: a drum; a drum kit; a drummer; a snare drum; a bass drum; drums; a drum set; percussion
 | playing/plays; beating/beats; playing a beat/plays a beat; pounding a rhythm/pounds a rhythm; rolling/rolls
 | drum; drums; percussion; rhythm; music; beat; instrument; musical instrument
 | a drum beat; drumming; a drum solo; hand drums and hi-hats

guitar: a guitar; an acoustic guitar; a guitarist; a ukulele; a banjo; a harp; a bass guitar; a lute; a piano
 | strumming/strums; playing/plays; plucking strings/plucks strings; playing a melody/plays a melody; being plucked/is plucked; picking a tune/picks a tune
 | guitar; strings; music; pluck; plucked strings; acoustic; instrument; musical instrument
 | guitar strings plucked; strumming a guitar; guitar music; plucked string notes

flute: a flute; a recorder; a pan flute; a flutist; a clarinet; a wooden flute; a piccolo; an ocarina
 | playing/plays; playing a melody/plays a melody; sounding softly/sounds softly; playing a tune/plays a tune; blowing a note/blows a note
 | flute; woodwind; music; wind instrument; melody; instrument; musical instrument
 | flute music; a melody on a flute; soft notes of a recorder

violin: a violin; a fiddle; a cello; a viola; a violinist
 | playing/plays; playing a melody/plays a melody; being bowed/is bowed; playing a sad tune/plays a sad tune
 | violin; strings; music; bowed string; instrument; orchestra
 | violin music; a bow on strings; a fiddle tune

organ: an organ; a church organ; a pipe organ; an organist; an accordion; a harmonium; a synthesizer
 | playing/plays; playing chords/plays chords; playing a hymn/plays a hymn; sounding/sounds; droning/drones; filling the church/fills the church
 | organ; church; music; chords; keyboard instrument; pipes; instrument; musical instrument
 | organ music; sustained organ chords; organ pipes sounding in a cathedral
"""


@dataclass(frozen=True)
class Words:
    """What people call one kind: see the module's docstring."""

    things: tuple[str, ...]
    doings: tuple[tuple[str, str], ...]
    tags: tuple[str, ...]
    wholes: tuple[str, ...]


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(";") if item.strip())


def _parse(entry: str) -> tuple[str, Words]:
    kind, _, rest = entry.partition(":")
    things, doings, tags, wholes = (_items(part) for part in rest.replace("\n", " ").split("|"))
    pairs = tuple((left, right) for left, _, right in (item.partition("/") for item in doings))
    return kind.strip(), Words(things, pairs, tags, wholes)


WORDS: Mapping[str, Words] = MappingProxyType(
    dict(_parse(entry) for entry in _ENTRIES.strip().split("\n\n"))
)
