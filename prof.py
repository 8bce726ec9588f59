import time,torch,numpy as np
from transformers import AutoModelForSequenceClassification
from torch.profiler import profile, ProfilerActivity
torch.set_num_threads(2)
def go(model,fused,n=10,B=32,T=22,prof=False,sparse=False):
    model.train(); torch.manual_seed(0)
    o=torch.optim.AdamW(model.parameters(),lr=1e-5,fused=fused)
    ts=[]
    def step():
        ids=torch.randint(5,39000,(B,T)); t=time.time()
        l=model(ids,torch.ones_like(ids)).logits.logsumexp(-1).mean(); a=time.time(); l.backward(); b=time.time()
        torch.nn.utils.clip_grad_norm_(model.parameters(),1.); c=time.time(); o.step(); d=time.time(); o.zero_grad(); ts.append((a-t,b-a,c-b,d-c,time.time()-t))
    for _ in range(n): step()
    print('fused' if fused else 'plain', np.median(np.array(ts[2:]),0).round(3), flush=True)
    if prof:
        with profile(activities=[ProfilerActivity.CPU]) as p:
            for _ in range(3): step()
        print(p.key_averages().table(sort_by='self_cpu_time_total', row_limit=16, max_name_column_width=40)[:4200])
m=AutoModelForSequenceClassification.from_pretrained('/work/h/run/start')
go(m,False); go(m,True,prof=True)
